"""For the Jupyter server of `clexlab lab`: a slider's answer leaves at once instead of waiting up to 40 ms.

A kernel answers with several small messages. By default the operating system holds all but the first back until the browser
has acknowledged it (Nagle's algorithm), and the browser's side waits 40 ms with that (delayed acknowledgement).
"""

import asyncio

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptConnection(ZMQChannelsWebsocketConnection):
    """The usual connection of a page to its kernel, with TCP_NODELAY."""

    def connect(self) -> asyncio.Future[None] | None:
        """Connect; the socket is open by now."""
        self.websocket_handler.set_nodelay(True)
        return super().connect()

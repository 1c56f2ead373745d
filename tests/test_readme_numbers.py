"""Numbers in the README's prose are those of the records it names."""

import math
import re
import statistics
from pathlib import Path

from clexlab import evaluation, results, study
from clexlab.study import claims, family_claims, untrained_claims
from clexlab.study.untrained import few_groups

README = re.sub(r"\s+", " ", (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8"))


def test_the_disagreement_of_cached_keys_is_the_records():
    record = results.read_all("cache")[-1]
    beyond = {case: record.metrics[case]["whole"] for case in ("YaRN", "CLEX, tuned", "dynamic NTK")}
    rerotated = {case: rows["rerotate"]["beyond"] for case, rows in beyond.items()}
    turned = {case: (f"{row['kl'][0]:.2g}", f"{row['same'][0]:.0%}") for case, row in rerotated.items()}
    stale = [f"{rows['stale']['beyond']['kl'][0]:.2g}" for rows in beyond.values()]
    assert turned == {"YaRN": ("0.0053", "98%"), "CLEX, tuned": ("0.01", "97%"), "dynamic NTK": ("0.1", "85%")}
    assert "KL of 0.005 nats under YaRN (98 % of first choices the same), 0.010 under a trained CLEX (97 %) and 0.10" in README
    assert stale == ["1.6", "0.62", "0.98"] and "keys left stale have 1.6, 0.62 and 0.98" in README
    for rows in beyond.values():
        assert max(rows[name]["beyond"]["kl"][2] for name in ("frozen", "refill")) < 1e-9


def test_what_the_learned_field_adds_is_the_records():
    records = {record.run: record.metrics["last"] for record in results.read_all("pocket_clex")}
    seeds = sorted(run.removeprefix("clex-") for run in records if run.startswith("clex-"))
    assert len(seeds) == 2
    gains = {
        length: sorted(records[f"control-{seed}"][length] - records[f"clex-{seed}"][length] for seed in seeds) for length in "1248"
    }
    near = [gain for length in "124" for gain in gains[length]]
    assert [f"{gain:.2f}" for gain in (min(near), max(near))] == ["0.04", "0.08"]
    assert [f"{gain:.2f}" for gain in gains["8"]] == ["-0.41", "-0.28"]
    assert "lowers the loss by 0.04 to 0.08 nats a byte up to 4 windows and raises it by 0.28 to 0.41 at 8" in README
    yarn = next(last for run, last in records.items() if run.startswith("yarn"))
    tuned = [last for run, last in records.items() if run.startswith(("clex-", "control-"))]
    assert all(yarn[length] < last[length] for last in tuned for length in "1248")
    assert all(last[length] >= yarn["1"] for last in (*tuned, yarn) for length in "1248")


def test_the_cost_of_a_decoding_step_is_the_records():
    record = [record for record in results.read_all("benchmarks") if record.run.startswith("decode-")][-1]
    pinned, planned, turned = (f"{record.metrics['worst'][name]:.3f}" for name in ("frozen_pinned", "frozen_planned", "rerotate"))
    assert f"at most {pinned} (pinned), {planned} (planned) and {turned} (`rerotate`)" in README
    cells = [cell for heads in ("8_key_heads", "2_key_heads") for cell in record.metrics[heads].values()]
    official = [cell["official"]["ratio"] for cell in cells]
    assert f"costs {min(official):.2f} to {max(official):.1f} times as much" in README


def test_what_the_study_says_of_the_field_is_the_records():
    losses = evaluation.by_method(study_records := results.read_all("study"))

    def apart(name, other, factors="1 2 4 8 16"):
        """Differences of two rows, over all seeds and some lengths; a row without training is one run for every seed."""
        found = []
        for factor in factors.split():
            one, two = losses[name][factor].by_seed, losses[other][factor].by_seed
            assert set(one) == {1, 2, 3} and set(two) in ({0}, {1, 2, 3})
            found += [loss - two.get(seed, two.get(0)) for seed, loss in one.items()]
        return min(found), max(found)

    assert {record.config["texts"] for record in study_records} == {16}
    assert {record.tokens for record in study_records if record.tokens} == {262_144}
    least, most = apart("clex-ours", "clex-ours-frozen")
    assert f"between −{-least:.3f} and +{most:.3f}, so the field gains nothing" in README
    eight, sixteen = (apart("clex-ours", "skip-wise-yarn", factor) for factor in ("8", "16"))
    gains = [f"{-edge:.2f}" for edge in (eight[1], eight[0], sixteen[1], sixteen[0])]
    assert "by {} to {} at 8 windows and by {} to {} at 16, in every seed".format(*gains) in README
    assert f"and up to {apart('clex-ours', 'skip-wise-yarn', '1 2 4')[1]:.2f} against skip-wise YaRN up to 4 windows" in README
    assert f"The price: {losses['clex-ours']['1'].mean - losses['untouched']['1'].mean:.2f} at one window" in README
    keys = evaluation.by_method(study_records, "passkey")
    ours, yarn = (keys[name]["8"].mean for name in ("clex-ours", "yarn"))
    assert f"Pass keys at 8 windows: {ours:.0%} right, against {yarn:.0%} under YaRN".replace("%", " %") in README
    least, most = apart("clex-ours", "full-yarn", "16")
    assert f"{least:.2f}" == f"{most:.2f}" == "0.05"
    assert all(losses["clex-ours"][factor].mean < losses["full-yarn"][factor].mean for factor in "1248")
    assert "on rows of 16 windows is still 0.05 better at 16, and on average worse at every other length" in README
    least, most = apart("clex-official", "clex-official-frozen")
    assert f"against its own control by {-most:.3f} to {-least:.3f}, at every length in every seed" in README and most < 0
    assert all(losses["clex-official"][factor].low > losses["yarn"][factor].mean for factor in losses["yarn"])
    least, most = apart("clex-path", "yarn")
    assert f"by −{-least:.3f} to +{most:.3f}: no gain" in README


def test_what_the_ladder_says_of_a_poor_prior_is_the_records():
    losses = evaluation.by_method(results.read_all("clex_ladder"))

    def apart(name, other, factor):
        one, two = losses[name][factor].by_seed, losses[other][factor].by_seed
        assert set(one) == set(two) == {1, 2, 3}
        found = [loss - two[seed] for seed, loss in one.items()]
        return min(found), max(found)

    four, eight, sixteen = (apart("12-repair", "02-control", factor) for factor in ("4", "8", "16"))
    gains = [f"{-edge:.2f}" for edge in (four[1], four[0], eight[1], eight[0])]
    assert "in every seed by {} to {} at 4 windows and by {} to {} at 8; at 16 the seeds disagree".format(*gains) in README
    assert sixteen[0] < 0 < sixteen[1]
    behind = [f"{edge:.2f}" for factor in ("4", "8") for edge in apart("12-repair", "03-yarn", factor)]
    assert "still {} to {} better at 4 windows and {} to {} at 8".format(*behind) in README


def test_what_the_records_of_training_short_say_is_the_records():
    records = results.read_all("train_short")
    losses, keys = evaluation.by_method(records), evaluation.by_method(records, "passkey")

    def apart(name, other, factors="16", digits=2):
        """The least and the greatest size of the difference over seeds and some lengths, and which of the two is lower in all of them."""
        found = [
            losses[name][factor].by_seed[seed] - losses[other][factor].by_seed[seed] for factor in factors.split() for seed in (1, 2, 3)
        ]
        sign = -1 if max(found) < 0 else 1 if min(found) > 0 else 0
        return [f"{edge:.{digits}f}" for edge in sorted(map(abs, found))[:: len(found) - 1]], sign

    ours = {row.name: row for row in study.SHORT if row.tuning is not None}
    assert all(set(losses[name]["16"].by_seed) == {1, 2, 3} for name in ours)
    assert {record.tokens for record in records if record.config["row"] in ours} == {262_144}

    (least, most), sign = apart("pose-yarn", "full-yarn")
    near, near_sign = apart("pose-yarn", "full-yarn", "1")
    assert (sign, near_sign) == (1, -1)
    assert f"at 16 windows it is {least} to {most} above full length in every seed, at one window {near[0]} to {near[1]} below" in README
    found = [f"{keys[name]['8'].mean:.0%}".replace("%", " %") for name in ("pose-yarn", "full-yarn")]
    assert "finds {} of the pass keys at 8 windows, where full length finds {}".format(*found) in README
    short, long = ([record.metrics for record in records if record.config["row"] == name] for name in ("pose-yarn", "full-yarn"))
    faster = [slow["training_seconds"] / quick["training_seconds"] for quick, slow in zip(short, long, strict=True)]
    times = f"{min(faster):.1f} to {max(faster):.1f} times as fast"
    assert f"trains {times} (on a machine with other work) with a seventh of the memory for a row" in README
    assert [round(one["memory"]["row"] / other["memory"]["row"]) for one, other in zip(long, short, strict=True)] == [7, 7, 7]

    (least, most), sign = apart("random-yarn", "pose-yarn", "1 2 4 8 16")
    beside = max(abs(edge) for edge in map(float, apart("scattered-yarn", "random-yarn", "1 2 4 8 16")[0]))
    assert sign == 1 and f"by {least} to {most} at every length in every seed, and CLEX's scattering is within {beside:.2f} of it" in README

    answered = {
        answer.titles: answer for claim in claims.CLAIMS for answer in claims.answers(claim, records, "16") if answer.kept is not None
    }
    kept = {name: answered[ours[name].title, ours["full-yarn"].title].kept for name in ("chunks-yarn", "pose-yarn", "e2-yarn")}
    shares = [f"{share:.0%}".replace("%", " %") for share in kept.values()]
    assert "chunks have {}, PoSE has {}, E2-LLM {}".format(*shares) in README
    (least, most), sign = apart("e2-yarn", "pose-yarn", digits=3)
    assert sign == -1 and f"E2-LLM is {least} to {most} below PoSE at 16 windows" in README

    gaps, whole = (apart(name, "pose-yarn") for name in ("sentences-yarn", "longrecipe-yarn"))
    assert gaps[1] == whole[1] == 1
    assert "gaps alone {} to {} above PoSE, the whole recipe {} to {}".format(*gaps[0], *whole[0]) in README
    kept = [record.metrics["course"]["kept"] for record in records if "course" in record.metrics]
    assert len(kept) == 3 and min(kept) > 0.999 and "sentences that hold a chosen one are more than 99.9 % of the text" in README
    (least, most), sign = apart("interleaved-yarn", "full-yarn", "1 2 4 8 16", digits=3)
    assert sign == -1 and f"below full length at every length in every seed, by {least} to {most}" in README
    cells = [found for record in records for found in record.metrics.get("lookup", {}).values()]
    assert len(cells) == 12 and not any(cells) and "none of its cells is found" in README

    learned = [row for row in ours.values() if row.control]
    assert len(learned) == 6 and all(apart(row.name, row.control)[1] >= 0 for row in learned)
    assert "none of the six is below its control at 16 windows in every seed" in README
    (least, most), sign = apart("chunks-clex", "chunks-control", "2 8", digits=3)
    near, near_sign = apart("sentences-clex", "sentences-control", "2", digits=3)
    assert sign == near_sign == -1 and apart("chunks-clex", "chunks-control")[1] == 1
    assert f"Segments are at 2 and 8 windows, by {least} to {most}, and above it at 16; gaps are at 2, by {near[0]} to {near[1]}" in README
    squeezed = [name for name in ours if name.endswith("-linear") and name not in ("e2-linear", "plain-linear")]
    assert min(losses[name][factor].low for name in squeezed for factor in "1 2 4 8 16".split()) > 3.7 and "no loss is below 3.7" in README


def test_what_the_searches_found_is_the_records():
    searches = sorted(
        (record for record in results.read_all("search") if record.config["profile"] == "cpu"), key=lambda record: record.config["factor"]
    )
    assert [record.config["factor"] for record in searches] == [2.0, 4.0, 8.0, 16.0]

    def gaps(measure):
        pairs = [[record.metrics["methods"][name]["held_out"][measure] for name in ("searched", "yarn")] for record in searches]
        return ", ".join(f"{found - yarn:+.3f}".replace("-", "−") for found, yarn in pairs)

    whole, last = gaps("whole"), gaps("last")
    assert f"over the whole text by {whole} at 2, 4, 8 and 16 windows, on its last 64 tokens by {last}" in README
    (record,) = (record for record in results.read_all("progressive") if record.config["profile"] == "cpu")
    after = record.metrics["after"]
    found, yarn = (after[name]["16"] for name in ("searched 16x", "yarn"))
    assert f"{found:.3f} on the last tokens at 16 windows, where YaRN has {yarn:.3f} on the same tuned model" in README
    short = [after[name]["1"] for name in ("readjusted", "untouched")]
    assert "divisors readjusted for one window {:.3f}, untouched angles {:.3f}".format(*short) in README


def test_what_the_records_of_the_families_say_is_the_records():
    records = results.read_all("families")
    losses = evaluation.by_method(records)
    assert {row.name for row in study.FAMILIES} == set(losses)
    assert {record.tokens for record in records} == {589_824} and {record.config["profile"] for record in records} == {"cpu"}
    found = {
        answer.titles + (answer.measure,): sorted(answer.by_seed.values())
        for claim in family_claims.CLAIMS
        for answer in family_claims.answers(claim, records)
    }
    assert all(len(values) == 3 for values in found.values())

    def between(one, other, measure):
        """Least and greatest of the seeds, of the size of what all of them agree on the sign of."""
        values = found[titles[one], titles[other], measure]
        assert values[0] * values[-1] > 0
        return "{} to {}".format(*(f"{edge:.2f}" for edge in sorted(map(abs, (values[0], values[-1])))))

    def far(name):
        return f"{statistics.fmean(deep[name]):.0%}".replace("%", " %")

    titles = {row.name: row.title for row in study.FAMILIES}
    deep = {row.name: [family_claims.measured(one, "far marks at 8×") for one in study.by_row(records)[row.name]] for row in study.FAMILIES}
    rise = {
        name: sorted(losses[name]["8"].by_seed[seed] - losses[name]["1"].by_seed[seed] for seed in (1, 2, 3))
        for name in ("rope", "bias-alibi", "rope-sinks")
    }
    edges = {name: "{:.3f} to {:.3f}".format(*values[::2]) for name, values in rise.items()}
    assert f"ALiBi's rises by {edges['bias-alibi']} from one window to eight, RoPE's by {edges['rope']}" in README
    assert f"ALiBi finds {far('bias-alibi')} of the far marks" in README
    assert f"the same model of RoPE {far('rope')}, under YaRN {far('rope-yarn')}, with ReRoPE {far('rope-rerope')}" in README
    assert f"KERPLE's logarithm {far('bias-kerple-log')}, no positions at all {far('bias-nope')}" in README
    worse = between("bias-interpolated-alibi", "bias-alibi", "loss at 8×")
    assert found[titles["bias-interpolated-alibi"], titles["bias-alibi"], "loss at 8×"][0] > 0
    assert f"loss no, {worse} above ALiBi; far marks yes, {far('bias-interpolated-alibi')}" in README
    power = found[titles["bias-kerple-log"], titles["bias-kerple-power"], "loss at 8×"]
    alibi = found[titles["bias-kerple-log"], titles["bias-alibi"], "loss at 8×"]
    assert power[0] > 0 and alibi[0] < 0 < alibi[-1]
    text = between("bias-kerple-log", "bias-kerple-power", "loss at 8×")
    assert f"the seeds disagree about ALiBi, and its power is {text} better" in README
    sinks = f"Loss rises by {edges['rope-sinks']}; {far('rope-sinks')} of the far marks"
    assert sinks in README
    assert all(value < 0 for value in found[titles["rope-self-extend"], titles["rope-yarn"], "loss at 8×"])
    marks_apart = found[titles["rope-self-extend"], titles["rope-yarn"], "far marks at 8×"]
    assert marks_apart[0] < 0 < marks_apart[-1]
    text = between("rope-self-extend", "rope-yarn", "loss at 8×")
    assert far("rope-self-extend") == far("rope-yarn")
    assert f"loss yes, by {text} under YaRN's in every seed; far marks no, {far('rope-self-extend')} both" in README
    slow = [one for one in records if one.config["row"] in ("bias-t5", "bias-fire")]
    looks = [head for one in slow for layer in one.metrics["bias"]["field"] for head in layer]
    assert {one.config["tuning"]["plan"]["steps"] for one in slow} == {288} and len(slow) == 6 and min(looks) > 0.9 * 8 * 128
    fire = [found[titles["bias-fire"], titles[other], "loss at 8×"] for other in ("bias-alibi", "bias-kerple-log")]
    t5 = found[titles["bias-t5"], titles["rope"], "loss at 8×"]
    assert min(values[0] for values in fire) > 0 and t5[0] < 0 < t5[-1]
    t5_moved, fire_moved = (
        [losses["bias-nope"][factor].by_seed[seed] - losses[name][factor].by_seed[seed] for factor in "1248" for seed in (1, 2, 3)]
        for name in ("bias-t5", "bias-fire")
    )
    assert "FIRE no, about T5 the seeds disagree. But after 288 steps the heads of both still look at nearly the whole text" in README
    still = f"T5 is within {math.ceil(100 * max(map(abs, t5_moved))) / 100:.2f} of no positions at all"
    assert f"{still} and FIRE {min(fire_moved):.2f} to {max(fire_moved):.2f} below that" in README
    assert f"S2-Attn is {between('sparse-s2', 'sparse-local', 'loss at 1×')} below block-local heads" in README
    patterns = [name for name in deep if name.startswith("sparse-")]
    assert len(patterns) == 9 and max(statistics.fmean(deep[name]) for name in patterns) < 0.25
    assert "none of the nine patterns finds a quarter of the far marks" in README


def test_what_the_records_of_reading_without_training_say_is_the_records():
    records = results.read_all("without_training")
    rows = study.by_row(records)
    assert set(rows) == {row.name for row in study.UNTRAINED} and {record.config["texts"] for record in records} == {16}

    def answers(one, other, factors="4 8 16", measure="last"):
        claim = untrained_claims.Claim(paper="", says="", one=one, other=other, factors=tuple(factors.split()), measures=(measure,))
        return [answer for several in untrained_claims.answers(claim, records).values() for answer in several]

    def gap(one, other, factor):
        (found,) = answers(one, other, factor)
        return statistics.fmean(found.by_text)

    def said(one, other, factors="4 8 16"):
        return [found.verdict for found in answers(one, other, factors)]

    def found(name, factor, task="passkey"):
        (one,) = answers(name, "untouched", factor, task)
        assert len(one.mine) == 24
        return sum(one.mine)

    unseen = ["no difference seen"] * 3
    readers = ("rerope", "leaky-rerope", "self-extend", "dual-chunk")
    keys = sorted(found(name, "8") for name in readers)
    (last,) = answers("truncation", "untouched", "8", "passkey")
    assert f"yes by recall, {keys[0]} to {keys[-1]} of 24 pass keys at 8 windows" in README
    assert f"where the last window alone finds {sum(last.mine)}" in README
    assert all(said(name, "truncation") == unseen for name in (*readers, "yarn")) and "nor YaRN, is beyond two errors below" in README

    assert said("leaky-rerope", "yarn") == ["no difference seen", "lower", "lower"] and said("rerope", "yarn") == unseen
    assert said("self-extend", "yarn") == ["no difference seen", "no difference seen", "lower"]
    leaky = "YaRN's loss by {:.2f} at 8 and {:.2f} at 16 windows".format(*(-gap("leaky-rerope", "yarn", factor) for factor in ("8", "16")))
    assert f"{leaky} under Leaky ReRoPE, by {-gap('self-extend', 'yarn', '16'):.2f} at 16 under Self-Extend" in README
    steps = [-gap("leaky-rerope", "rerope", factor) for factor in ("4", "8", "16")]
    assert said("leaky-rerope", "rerope") == ["lower"] * 3
    assert "better than held ones by {:.2f}, {:.2f} and {:.2f} at 4, 8 and 16".format(*steps) in README
    few = [gap("self-extend-8", "self-extend", factor) for factor in ("4", "8")]
    assert said("self-extend-8", "self-extend") == ["lower", "higher", "higher"] and few_groups(256).longest // 256 == 6
    assert f"safe up to 6 windows here, are {-few[0]:.2f} better at 4 and {few[1]:.2f} worse at 8" in README
    assert said("rerope", "untouched", "1") == ["no difference seen"]
    counts = [found(name, "1", task) for task in ("passkey", "copy") for name in ("rerope", "untouched")]
    assert "but {} of 24 pass keys instead of {}, {} of 24 copies instead of {}".format(*counts) in README
    together = [gap("dual-chunk-yarn", "dual-chunk", factor) for factor in ("8", "16")]
    assert said("dual-chunk-yarn", "dual-chunk") == ["no difference seen", "lower", "lower"]
    assert f"lower than Dual Chunk alone by {-together[0]:.2f} at 8 and {-together[1]:.2f} at 16 windows" in README
    assert f"are {gap('rerope-yarn-twice', 'rerope', '16'):.2f} worse at 16 windows than ReRoPE alone" in README
    (string,) = answers("string", "untouched", "1")
    copies = [found(name, "1", "copy") for name in ("string", "untouched")]
    assert string.verdict == "higher"
    assert f"{statistics.fmean(string.by_text):.2f} ± {string.error:.2f} higher; {copies[0]} copies instead of {copies[1]}" in README
    behind = sorted(gap("gali", "self-extend", factor) for factor in ("4", "8", "16"))
    noise = sorted(gap("gali", "gali-quiet", factor) for factor in ("4", "8", "16"))
    assert said("gali", "self-extend") == said("gali", "gali-quiet") == ["higher"] * 3
    text = f"no, {behind[0]:.2f} to {behind[-1]:.2f} behind at 4, 8 and 16 windows"
    assert f"{text}, and {noise[0]:.2f} to {noise[-1]:.2f} better without noise" in README
    within = [f"{gap('gali-chunk', 'self-extend', factor):.2f}".replace("-", "−") for factor in ("4", "8", "16")]
    assert "with chunks within it the gap is {}, {} and {}".format(*within) in README
    for one, other in (("sinks", "truncation"), ("lm-infinite", "sinks")):
        assert said(one, other) == unseen
        assert max(f"{abs(gap(one, other, factor)):.2f}" for factor in ("1", "2", "4", "8", "16")) == "0.01"
    deep = rows["sinks"][0].metrics["passkey_by_depth"]["8"]
    assert found("sinks", "8") == 8 and deep == {"0.1": 0.0, "0.5": 0.0, "0.9": 1.0}
    assert "8 of 24 pass keys, all of them in the last window" in README


def test_what_the_records_of_sparse_training_say_is_the_records():
    records = results.read_all("sparse_attention")
    losses = evaluation.by_method(records)
    assert {record.tokens for record in records if record.tokens} == {196_608} and {record.seed for record in records} == {0, 1}
    under_yarn = [row.name for row in study.SPARSE if "linear" not in row.name]
    assert set(under_yarn) <= set(losses)

    def apart(one, other, factor="4"):
        return f"{losses[one][factor].mean - losses[other][factor].mean:+.3f}".replace("-", "−")

    assert f"S2-Attn {apart('lora-s2-yarn', 'lora-full-yarn')} beside full rows" in README
    others = [apart(name, "lora-full-yarn") for name in ("lora-local-yarn", "lora-short-yarn")]
    assert "block-local heads {}, rows of one window {}".format(*others) in README
    more = [apart(name, "lora-full-yarn") for name in ("lora-s2-bare-yarn", "lora-rolled-s2-yarn")]
    assert "S2 with LoRA alone {}, its rolled form {}".format(*more) in README
    assert f"not tuned at all {apart('yarn-at-4', 'lora-full-yarn')}" in README
    scca = [apart(name, "lora-s2-yarn") for name in ("lora-scca-fixed-yarn", "lora-scca-flow-yarn", "lora-long-mixed-yarn")]
    assert "SCCA fixed {}, flow {}, LongMixed {} beside S2".format(*scca) in README
    rest = [f"lora-{name}-yarn" for name in ("dilated", "dilated-neighbourhood", "sda", "selected-sda")]
    above = sorted(losses[name]["4"].mean - losses["yarn-at-4"]["4"].mean for name in rest)
    assert above[0] > 0 and f"dilated ones and SDA are {above[0]:.3f} to {above[-1]:.3f} above the untuned model" in README
    through = sorted(losses[name]["4"].mean - losses["lora-full-yarn"]["4"].mean for name in under_yarn if "-through-" in name)
    assert f"Read through their patterns all are {through[0]:.2f} to {through[-1]:.2f} above full rows" in README
    seeds = {name: set(losses[name]["4"].by_seed) for name in losses}
    assert all(found in ({0}, {1}) for found in seeds.values()) and "one seed so far" in README
    squeezed = {row.name for row in study.SPARSE if "linear" in row.name} & set(losses)
    assert squeezed == {"linear-at-4"} and "tunings under PI are planned and not run" in README


def test_what_maps_and_patterns_cost_is_the_records():
    every = results.read_all("benchmarks")
    maps_, patterns = ([one for one in every if one.run.startswith(name)][-1].metrics for name in ("maps-", "sparse-"))
    cells = {name: cell for name, cell in maps_.items() if isinstance(cell, dict) and name != "plain"}
    times = {name: cell["time"]["16x"]["ratio"] for name, cell in cells.items()}
    assert f"(GALI, which turns all keys for every chunk, {times.pop('gali'):.1f})" in README
    blind = {f"{times.pop(name):.2f}" for name in ("sinks", "lm_infinite")}
    edges = f"{min(times.values()):.2f} to {max(times.values()):.2f}"
    assert f"takes {edges} times plain attention's time where the whole text is seen" in README
    assert blind == {"0.75"} and "and 0.75 times where it is not" in README
    assert f"with at most {max(cell['peak_ratio'] for cell in cells.values()):.2f} times the memory" in README
    longest = [cell for cell in patterns["4096"].values() if isinstance(cell, dict) and "pairs" in cell]
    assert len(longest) == 9
    masked, chunked = ([cell[way]["ratio"] for cell in longest if way in cell] for way in ("masked", "chunked"))
    assert f"takes {min(masked):.1f} to {max(masked):.1f} times full attention's time by masks" in README
    assert f"and {min(chunked):.2f} to {max(chunked):.2f} times chunk by chunk" in README

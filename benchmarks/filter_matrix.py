"""How well a run's codes can be derived from those of its last focus: one table per focus.

python -m benchmarks.filter_matrix --workdir=RUN [--data_dir=DIR] [--checkpoint=latest] \
  [--out=results/filter_matrix/NAME.json]

Each kind of filter matrix is fitted on the base set (the train split). So is an upper bound for all
of them: for every bit a logistic regression on all bits of the stored code. Derived codes replace
the network's own on both sides of a search. The tables are Markdown; agreement and mAP are in
percent. `python -m experiments page` puts what --out wrote into docs/filter_matrix.md.
"""

import dataclasses
import json
from collections.abc import Iterator

import numpy as np
from absl import flags
from etils import epath
from sklearn.linear_model import LogisticRegression

from data.prepared.pipeline import open_dataset
from stvh_jax import files
from stvh_jax.cli import parsing
from stvh_jax.codes.filter_fitting import fit
from stvh_jax.codes.packing import pack, unpack
from stvh_jax.evaluation.derived_codes import bit_agreement
from stvh_jax.evaluation.environment import hardware
from stvh_jax.evaluation.judging import measures, rank
from stvh_jax.inference.encoded_clips import EncodedClips, encode_split, join
from stvh_jax.inference.encoder import load

KINDS = {
    "binary F": {},
    "binary F, less the mean of each bit": {"normalise": "bit"},
    "binary F for each step": {"per_step": True},
    "F of 0 and 1": {"values": "01"},
    "real F": {"values": "real"},
    "real F for each step": {"values": "real", "per_step": True},
}
# Focus 0 is a random projection, and its first bits are one as well.
PREFIXES = (16, 32, 64)
COLUMNS = (
    "codes", "agree, base", "agree, queries", "activity mAP@10", "match mAP@10",
    "bits per clip", "bits of F",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Parts:
    """The clips that are judged: the queries, the base set, and the clips of all splits."""

    queries: EncodedClips
    base: EncodedClips
    everything: EncodedClips

    def with_codes(self, focus, make):
        """Gives the parts with codes of one focus only, which `make` computes from their own."""
        return Parts(
            **{
                name: dataclasses.replace(clips, codes={focus: make(clips.codes)})
                for name, clips in vars(self).items()
            }
        )


def judge(parts, focus):
    """Computes mAP@10 by activity and by match."""
    judged = measures(rank(parts.queries, parts.base, parts.everything))[str(focus)]
    return judged["activity_map@10"], judged["match_map@10"]


def predict_bits(stored, wanted, others):
    """Predicts each bit of codes by a logistic regression on all bits of the stored codes.

    Args:
      stored: packed codes `[M, bytes]` of the last focus, to fit on.
      wanted: packed codes `[M, bytes]` of the same clips, to predict.
      others: packed codes `[Q, bytes]` of the last focus of other clips.

    Returns:
      Packed codes `[Q, bytes]` predicted for the others. A bit that is constant in `wanted` is
      predicted to be the same.
    """
    known, asked = (np.unpackbits(codes, axis=1) for codes in (stored, others))
    columns = [
        np.full(len(asked), bit[0])
        if (bit == bit[0]).all()
        else LogisticRegression(C=0.1, max_iter=1000).fit(known, bit).predict(asked)
        for bit in np.unpackbits(wanted, axis=1).T
    ]
    return pack(np.stack(columns, axis=1))


def rows(parts, matrices, focus) -> Iterator[tuple]:
    """Judges every way to get the codes of a focus below the last.

    Args:
      parts: the clips with their own codes.
      matrices: fitted filter matrices by name, the default first.
      focus: 0..L-1.

    Returns:
      One tuple per way, with a value for each of `COLUMNS`, or None where there is no such number.
      The bits per clip are those of the code of the last focus, which is always stored, and of what
      is stored in addition.
    """
    default = next(iter(matrices.values()))
    layers, bits = default.layers, default.bits
    own = parts.with_codes(focus, lambda codes: codes[focus])

    def row(name, made, *, a_clip=bits, matrix_bits=0):
        agree = [
            bit_agreement(mine.codes[focus], codes.codes[focus])
            for mine, codes in ((own.base, made.base), (own.queries, made.queries))
        ]
        return (name, *agree, *judge(made, focus), a_clip, matrix_bits)

    yield row("own", own, a_clip=2 * bits)
    for name, matrix in matrices.items():
        made = parts.with_codes(
            focus, lambda codes, matrix=matrix: matrix.derive(codes[layers], focus)
        )
        yield row(name, made, matrix_bits=matrix.storage_bits)
        if matrix is default:
            # The queries keep their own codes, and only those of the base are derived.
            activity, _ = judge(dataclasses.replace(made, queries=own.queries), focus)
            mixed = f"{name}, queries' own codes"
            yield mixed, None, None, activity, None, bits, matrix.storage_bits
    stored, wanted = (parts.base.codes[place] for place in (layers, focus))
    bound = parts.with_codes(focus, lambda codes: predict_bits(stored, wanted, codes[layers]))
    yield (*row("logistic regressions", bound)[:-1], None)
    # One code for all clips: what chance finds, and how many bits agree because one value is rare.
    common = pack(unpack(wanted).sum(axis=0))
    constant = parts.with_codes(focus, lambda codes: np.tile(common, (len(codes[focus]), 1)))
    yield (*row("commoner value of each bit", constant, a_clip=0)[:-1], None)
    if focus == 0:
        for prefix in (prefix for prefix in PREFIXES if prefix < bits):
            cut = parts.with_codes(0, lambda codes, end=prefix // 8: codes[0][:, :end])
            yield f"own, first {prefix} bits", None, None, *judge(cut, 0), bits + prefix, 0


def markdown(lines):
    """Formats rows as a Markdown table."""

    def text(place, value):
        if value is None:
            return "–"
        return f"{100 * value:.1f}" if 0 < place < 5 else str(value)

    table = [COLUMNS, ["---", *["---:"] * (len(COLUMNS) - 1)]]
    table += [[text(place, value) for place, value in enumerate(line)] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def report(workdir, *, data_dir=None, checkpoint="best", out=None):
    """Evaluates a run and prints its tables; writes them as JSON to `out`."""
    encoder = load(workdir, checkpoint=checkpoint)
    config = encoder.config
    with config.data.unlocked():
        config.data.dir = data_dir or config.data.dir
    parts = _encode(encoder, config)
    facts = {
        "model": config.model.name,
        "bits": encoder.bits,
        "seed": config.seed,
        "checkpoint": {"step": encoder.step, "kind": encoder.checkpoint},
        "data": f"{config.data.name}, {config.data.variant}",
        "base": f"{config.data.train_split}, {len(parts.base)} clips",
        "queries": f"{config.data.test_split}, {len(parts.queries)} clips",
        "clips in match retrieval": len(parts.everything),
        "hardware": hardware(),
    }
    print("; ".join(f"{name}: {value}" for name, value in facts.items()), flush=True)
    *foci, last = encoder.foci
    matrices = {
        name: fit(parts.base.codes, seed=config.seed, **options) for name, options in KINDS.items()
    }
    own = parts.with_codes(last, lambda codes: codes[last])
    tables = {last: [("own", 1.0, 1.0, *judge(own, last), encoder.bits, 0)]}
    print(f"\nFocus {last}\n\n{markdown(tables[last])}", flush=True)
    for focus in reversed(foci):
        tables[focus] = list(rows(parts, matrices, focus))
        print(f"\nFocus {focus}\n\n{markdown(tables[focus])}", flush=True)
    if out:
        found = {**facts, "columns": COLUMNS, "foci": tables}
        files.write(epath.Path(out), json.dumps(found, indent=1) + "\n")


def _encode(encoder, config) -> Parts:
    """Encodes every clip of the data set."""
    dataset = open_dataset(config.data)
    encoded = {split: encode_split(encoder, dataset, split) for split in dataset.splits}
    return Parts(
        join(encoded, config.data.test_split),
        join(encoded, config.data.train_split),
        EncodedClips.concatenate(list(encoded.values())),
    )


if __name__ == "__main__":
    WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder.")
    DATA_DIR = flags.DEFINE_string(
        "data_dir", None, "Prepared data sets; config.data.dir if left out."
    )
    CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Which checkpoint.")
    OUT = flags.DEFINE_string("out", None, "A JSON file for the tables.")
    parsing.run_flags(
        lambda _: report(
            WORKDIR.value, data_dir=DATA_DIR.value, checkpoint=CHECKPOINT.value, out=OUT.value
        ),
        required=("workdir",),
    )

"""One file for each table or figure of the paper, and one for what only we can measure.

Each has a `TITLE`, `variants(setting)`, the rows whose runs it needs, and `report(study)`, which
turns their evaluations into tables, figures and notes. What several share is in `ablation`,
`code_lengths` and `confusion`; `literature` quotes other methods. Some have more: `pairs(study)`,
the rows whose differences a claim of the paper is about; `ONE_SEED` if only the first seed is used;
`NEEDS_RUNS` if the report cannot be made from its JSON alone; `NEEDS_FRAMES` if nothing can be
shown without pixels; `NEEDS_CORRECTED_LABELS` if there must be two sets of labels;
`NEEDS_LABEL_FREE` if the config must have the option label_free; `DATASET` if a twin has the same
rows for another data set of the paper.
"""

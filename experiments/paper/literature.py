"""The methods that the paper's Table 2 compares STVH and M-STVH with, as that table prints them.

Its header is unclear; the columns are read as Volleyball's actions and activities, the activities
of Collective Activity, and those of its extended set, which agrees with the text and with the rows
of STVH and M-STVH. Years are those of the works that the table cites.
"""

# Method, year, input, backbone; accuracy in percent on VD's actions, VD, CAD and CAED.
LITERATURE = (
    ("Contextual Model, Lan et al.", "2011", "RGB", "none", "–", "–", "83.4", "–"),
    (
        "Iterative Belief Propagation, Choi and Savarese",
        "2012",
        "RGB",
        "none",
        "–",
        "–",
        "79.0",
        "–",
    ),
    ("HDTM, Ibrahim et al.", "2016", "RGB", "AlexNet", "–", "81.9", "81.5", "–"),
    ("SIM, Deng et al.", "2016", "RGB", "AlexNet", "–", "–", "81.2", "90.2"),
    ("RMIC, M. Wang et al.", "2017", "RGB+Flow", "Inception-v3", "–", "66.9", "86.1", "–"),
    ("SBGAR, X. Li and Choo Chuah", "2017", "RGB+Flow", "AlexNet", "–", "–", "89.4", "–"),
    ("SPTS, Tang et al.", "2019", "RGB+Flow", "VGG-16", "–", "91.2", "95.8", "98.1"),
    ("PMICM, Wang et al.", "2017", "RGB", "AlexNet", "–", "87.7", "92.2", "–"),
    ("ARG, J. Wu et al.", "2019", "RGB", "Inception-v3", "83.0", "92.5", "91.0", "–"),
    ("HiGCIN, Yan et al.", "2020", "RGB", "ResNet-18", "–", "91.5", "93.4", "–"),
    ("DIN, Yuan et al.", "2021", "RGB", "VGG-16", "–", "93.6", "95.9", "–"),
    ("P2CTDM, Yan et al.", "2021", "RGB", "Inception-v3", "–", "92.7", "96.1", "95.6"),
    ("stagNet, Qi et al.", "2019", "RGB", "VGG-16", "82.3", "89.3", "89.1", "89.7"),
    ("CRM, Azar et al.", "2019", "RGB+Flow", "I3D", "–", "93.0", "85.8", "–"),
    ("SAVRF, Pramono et al.", "2020", "RGB+Flow", "I3D", "83.1", "95.0", "95.2", "–"),
    ("Dual-AI, Han et al.", "2022", "RGB", "Inception-v3", "84.4", "94.4", "96.5", "–"),
    ("Actor-Transformer, Gavrilyuk et al.", "2020", "RGB+Flow", "I3D", "83.7", "93.0", "85.8", "–"),
    ("GroupFormer, S. Li et al.", "2021", "RGB", "Inception-v3", "83.7", "94.1", "96.5", "–"),
    ("MLST-Former, Zhu et al.", "2022", "RGB", "Inception-v3", "84.5", "94.5", "96.8", "95.9"),
    ("RWGCN, Kang et al.", "2025", "RGB", "ResNet-50", "–", "–", "95.5", "94.8"),
    ("AFGNet, Xie et al.", "2024", "RGB", "Inception-v3", "86.1", "96.7", "96.5", "96.9"),
    ("MOGAR, Zheng et al.", "2025", "Keypoint", "HRNet", "–", "94.5", "94.4", "–"),
)

# What stands where a printed figure could not be read.
NOT_READ = "not known"
# Methods without labels of activities, on Volleyball: name, arXiv, what they see, what they learn
# from, and Hit@1 in percent of the test clips that search the training clips; None: not read.
LABEL_FREE_LITERATURE = (
    (
        "GAFL-PAC",
        "2403.02753",
        "RGB",
        "the labelled actions of people",
        None,
    ),
    ("GAFL-PAF", "2403.02753", "RGB", "the appearance of people", None),
    (
        "Group-DINOmics",
        "2604.04467",
        "RGB through DINOv3",
        "the optical flow of people, positions of the ball",
        "82.7",
    ),
)

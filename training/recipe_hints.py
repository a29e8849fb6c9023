"""Hints for recipes and options that are written as other programs write them: what to write here instead."""

import codecs
import re
from collections.abc import Iterable

from lagvis.data.messages import nearest_name
from lagvis.errors import RecipeError

BYTE_ORDER_MARKS = (  # the longer ones first: that of UTF-16 is the beginning of that of UTF-32
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# Names of settings in other programs, without separators and in lower case, and the key here.
SYNONYMS = {
    "accumsteps": "accumulate",
    "accumulategradbatches": "accumulate",
    "accumulationsteps": "accumulate",
    "act": "activation",
    "actfn": "activation",
    "activationfunction": "activation",
    "alpha": "weight_decay",
    "amp": "dtype",
    "batch": "batch_size",
    "batchnorm": "normalization",
    "batchnormalization": "normalization",
    "beta": "momentum",
    "beta1": "betas",
    "beta2": "betas",
    "bf16": "dtype",
    "bs": "batch_size",
    "classweight": "class_weights",
    "clip": "clip_norm",
    "clipgrad": "clip_norm",
    "clipgradient": "clip_norm",
    "clipgradnorm": "clip_norm",
    "columns": "features",
    "criterion": "loss",
    "cyclemomentum": "base_momentum",
    "dataset": "data",
    "decay": "weight_decay",
    "decayrate": "lr_gamma",
    "decaysteps": "lr_step_size",
    "delta": "huber_delta",
    "dropoutrate": "dropout",
    "earlystop": "patience",
    "earlystopping": "patience",
    "earlystoppingpatience": "patience",
    "earlystoppingrounds": "patience",
    "emadecay": "ema",
    "emamomentum": "ema",
    "epoch": "epochs",
    "epsilon": "eps",
    "eta": "lr",
    "eta0": "lr",
    "etamin": "min_lr_ratio",
    "file": "data",
    "finaldivfactor": "min_lr_ratio",
    "fp16": "dtype",
    "gamma": "lr_gamma",
    "gaussiannoise": "input_noise",
    "globalclipnorm": "clip_norm",
    "gradaccum": "accumulate",
    "gradaccumsteps": "accumulate",
    "gradclip": "clip_norm",
    "gradientaccumulation": "accumulate",
    "gradientaccumulationsteps": "accumulate",
    "gradientclip": "clip_norm",
    "gradientclipping": "clip_norm",
    "gradientclipval": "clip_norm",
    "hiddenchannels": "hidden",
    "hiddenlayers": "hidden",
    "hiddenlayersizes": "hidden",
    "initiallearningrate": "lr",
    "iterations": "epochs",
    "kernelconstraint": "max_norm",
    "kernelregularizer": "weight_decay",
    "l1ratio": "l1",
    "l2": "weight_decay",
    "l2regularization": "weight_decay",
    "labelcolumn": "label",
    "lambda": "weight_decay",
    "layernorm": "normalization",
    "layernormalization": "normalization",
    "layers": "hidden",
    "learningrate": "lr",
    "learningrateinit": "lr",
    "learningrateschedule": "schedule",
    "lossfunction": "loss",
    "lrdecay": "lr_gamma",
    "lrscheduler": "schedule",
    "lrschedulertype": "schedule",
    "maxepochs": "epochs",
    "maxgradnorm": "clip_norm",
    "maxiter": "epochs",
    "maxlr": "lr",
    "maxmomentum": "momentum",
    "minibatchsize": "batch_size",
    "minlr": "min_lr_ratio",
    "minlrrate": "min_lr_ratio",
    "mixedprecision": "dtype",
    "mixupalpha": "mixup",
    "modelema": "ema",
    "nepochs": "epochs",
    "nesterovsmomentum": "nesterov",
    "niter": "epochs",
    "niternochange": "patience",
    "noise": "input_noise",
    "noisestd": "input_noise",
    "nonlinearity": "activation",
    "norm": "normalization",
    "numepochs": "epochs",
    "numwarmupsteps": "warmup",
    "objective": "loss",
    "opt": "optimizer",
    "path": "data",
    "pctstart": "warmup",
    "precision": "dtype",
    "randomseed": "seed",
    "randomstate": "seed",
    "regalpha": "l1",
    "reglambda": "weight_decay",
    "restorebestweights": "patience",
    "sampleweight": "weight_column",
    "sampleweights": "weight_column",
    "sched": "schedule",
    "scheduler": "schedule",
    "smoothing": "label_smoothing",
    "solver": "optimizer",
    "steps": "epochs",
    "stepsize": "lr_step_size",
    "swa": "ema",
    "target": "label",
    "targetcolumn": "label",
    "targetname": "label",
    "tmax": "epochs",
    "totalsteps": "epochs",
    "units": "hidden",
    "val": "validation",
    "validationsize": "validation",
    "valsize": "validation",
    "valsplit": "validation",
    "warmupepochs": "warmup",
    "warmupproportion": "warmup",
    "warmupratio": "warmup",
    "warmupsteps": "warmup",
    "wd": "weight_decay",
    "weight": "weight_column",
    "weights": "weight_column",
}
# What other programs have and Lagvis has not.
MISSING = {
    "allowtf32": "no TF32; products of float32 are computed in float32 on every device",
    "amsgrad": "no AMSGrad; the optimizer adam is without it",
    "bias": "no layer without biases",
    "callbacks": "no callback; patience, ema and the schedules are settings",
    "centered": "no centred RMSprop; the optimizer rmsprop is without it",
    "clipvalue": "no clipping of single values; clip_norm bounds the norm of the whole gradient",
    "cooldown": "no schedule that follows the loss; the schedules are functions of the step",
    "dampening": "no dampening; momentum is that of PyTorch without it",
    "divfactor": "no such setting: one-cycle begins at lr / 25",
    "factor": "no schedule that follows the loss; lr_gamma is the factor of the schedule step",
    "initializer": "no choice of the first weights; the activation decides how they are drawn",
    "kernelinitializer": "no choice of the first weights; the activation decides how they are drawn",
    "milestones": "no list of steps; the schedule step drops after each lr_step_size",
    "mindelta": "no least improvement; patience counts every lower validation loss",
    "nssteps": "no such setting: muon takes five Newton-Schulz steps",
    "powert": "no inverse scaling; the schedules linear and cosine fall too",
    "stepsperepoch": "no such setting; an epoch is all training rows",
    "testsize": "no such setting; without a test part a fifth of the rows is held out",
    "tf32": "no TF32; products of float32 are computed in float32 on every device",
    "threephase": "no third phase; one-cycle rises and falls",
    "tol": "no tolerance; patience ends a run after so many epochs without a lower validation loss",
}
# Values that other programs have, without separators and in lower case, and the value here.
VALUE_SYNONYMS = {
    "1cycle": "one-cycle",
    "32": "float32",
    "32true": "float32",
    "64": "float64",
    "64true": "float64",
    "absoluteerror": "mae",
    "batchnorm": "batch",
    "batchnormalization": "batch",
    "bce": "binary-cross-entropy",
    "bceloss": "binary-cross-entropy",
    "bcewithlogits": "binary-cross-entropy",
    "bcewithlogitsloss": "binary-cross-entropy",
    "binarycrossentropyloss": "binary-cross-entropy",
    "categoricalcrossentropy": "cross-entropy",
    "ce": "cross-entropy",
    "constantlr": "constant",
    "constantwithwarmup": "constant",
    "cosineannealing": "cosine",
    "cosineannealinglr": "cosine",
    "cosinedecay": "cosine",
    "cosinewithminlr": "cosine",
    "crossentropyloss": "cross-entropy",
    "double": "float64",
    "exponential": "step",
    "exponentialdecay": "step",
    "exponentiallr": "step",
    "f32": "float32",
    "f64": "float64",
    "float": "float32",
    "fp32": "float32",
    "fp64": "float64",
    "gd": "sgd",
    "gradientdescent": "sgd",
    "huberloss": "huber",
    "l1": "mae",
    "l1loss": "mae",
    "l2": "mse",
    "layernorm": "layer",
    "layernormalization": "layer",
    "linear": "identity",
    "linearlr": "linear",
    "logistic": "sigmoid",
    "logloss": "cross-entropy",
    "meanabsoluteerror": "mae",
    "meansquarederror": "mse",
    "mseloss": "mse",
    "multisteplr": "step",
    "nll": "cross-entropy",
    "nllloss": "cross-entropy",
    "none": "constant",
    "onecyclelr": "one-cycle",
    "piecewiseconstant": "step",
    "single": "float32",
    "smoothl1": "huber",
    "smoothl1loss": "huber",
    "sparsecategoricalcrossentropy": "cross-entropy",
    "squarederror": "mse",
    "steplr": "step",
    "swish": "silu",
}
# Types of 16 bits, as NumPy, PyTorch, Keras and Lightning write them.
HALF_PRECISION = (
    "16", "16mixed", "16true", "bf16", "bf16mixed", "bf16true", "bfloat16", "float16", "fp16", "half", "mixedbfloat16",
    "mixedfloat16",
)  # fmt: skip
# Values that other programs have and Lagvis has not: the nearest here, and how it differs.
MISSING_VALUES = {
    **dict.fromkeys(
        HALF_PRECISION, ("float32", "was faster on a CPU (docs/speed.md), and on a GPU 16 bits are untried")
    ),
    "hardswish": ("silu", "resembles it"),
    "mish": ("silu", "resembles it"),
    "prelu": ("leaky-relu", "has a fixed slope"),
}

# Control characters that a backslash and a letter stand for in double quotes, by the name and the letter.
CONTROL_CHARACTERS = {
    "\b": ("backspace", "b"),
    "\t": ("tab", "t"),
    "\n": ("line feed", "n"),
    "\f": ("form feed", "f"),
    "\r": ("carriage return", "r"),
}
NO_VALUE = "(?i:none|null|nil)"  # how other notations write that there is no value
NONE_KEYS = ("class_weights", "normalization")  # settings that have the value "none"
# Values that TOML refuses, and how they are written.
TOML_VALUES = (
    (r'"([^"\']*\\[^"\']*)"?', r"'\1', in single quotes, or with / instead of each backslash"),
    (r'"[^"]*\\[^"]*"?', "the path with / instead of each backslash"),
    (r"(\w:|\.{0,2})([\\/].*)", r"'\1\2', in single quotes"),
    ("[\u201c\u201d\u201e\u2018\u2019\u00ab](.*)[\u201c\u201d\u2018\u2019\u00bb]", r"'\1', with straight quotes"),
    (r"(?i:true|yes|on)", "true"),
    (r"(?i:false|no|off)", "false"),
    (r"([+-]?\d+),(\d+)", r"\1.\2"),
    (r"([+-]?)\.(\d+([eE][+-]?\d+)?)", r"\g<1>0.\2"),
    (r"([+-]?\d+)\.([eE][+-]?\d+)?", r"\1.0\2"),
    (r"0+(\d+)", r"\1"),
    (r"([A-Za-z][\w.-]*)", r'"\1", in quotes'),
)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a message that proposes the nearest known word; empty if none is near."""
    near = nearest_word(word, known)
    return f"; did you mean {near}?" if near else ""


def value_hint(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown value: the one that is meant, whatever its spelling; or ""."""
    known, bare = [*known], normalized(word)
    nearest, difference = MISSING_VALUES.get(bare, ("", ""))
    if nearest in known:
        return f"; there is no {word}, {nearest} {difference}"
    meant = {normalized(name): name for name in known}.get(bare) or VALUE_SYNONYMS.get(bare)
    return f"; did you mean {meant}?" if meant in known else did_you_mean(word, known)


def nearest_word(word: str, known: Iterable[str]) -> str:
    """Return the known word that is nearest to a word; empty if none is near."""
    return nearest_name(word.lower(), known)


def key_hint(word: str, keys: Iterable[str], prefix: str = "") -> str:
    """Return the end of a message about an unknown key: the key that is meant, or what is missing here; or "".

    `prefix` stands before the key: "--" for options.
    """
    bare = normalized(word)
    known = {normalized(key): key for key in keys}
    meant = known.get(bare) or known.get(normalized(SYNONYMS.get(bare, "")))
    if not meant and bare in MISSING:
        return f"; there is {MISSING[bare]}"
    meant = meant or nearest_word(word, known.values())
    return f"; did you mean {prefix}{meant}?" if meant else ""


def normalized(name: str) -> str:
    """Return a name in lower case without separators: Learning-Rate -> learningrate."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def decode(content: bytes) -> str:
    """Decode a recipe: UTF-8, or UTF-16 and UTF-32 with a byte order mark. Raise RecipeError for another encoding."""
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        byte = content[error.start : error.start + 1]
        line = content[: error.start].count(b"\n") + 1
        raise RecipeError(
            f"is not {encoding.upper()}: line {line} holds the byte {byte[0]:#04x}, in Windows-1252 "
            f"{byte.decode('cp1252', 'replace')!r}; save it as UTF-8"
        ) from None
    if "\0" in text:
        raise RecipeError("holds zero bytes, as UTF-16 without a byte order mark does; save it as UTF-8")
    return text


def toml_hint(text: str, message: str) -> str:
    """Return the end of a message about a recipe that is not TOML: how the line is written here; or ""."""
    if text.lstrip().startswith("{"):
        return "; it looks like JSON: write each setting in a line of its own, such as epochs = 5"
    lines = text.splitlines()
    found = re.search(r"at line (\d+)", message)
    number = int(found[1]) if found else len(text.rstrip().splitlines())
    line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    key, separator, value = (part.strip() for part in line.partition("="))
    value = re.sub(r"\s+#.*", "", value)
    colon = not separator
    if colon:
        key, separator, value = (part.strip() for part in line.partition(":"))
    if re.fullmatch(NO_VALUE, value) and key not in ("hidden", *NONE_KEYS):
        return f"; leave {key} out for its default"
    written = toml_value(key, value)
    if colon:
        return f"; write {key} = {written or value}" if separator and value else ""
    return f"; write {key} = {written}" if written else ""


def toml_value(key: str, value: str) -> str:
    """Return how a value that TOML refuses is written; "" if that is not clear."""
    if key == "hidden" and re.fullmatch(r"[(]?\d+([,;]\s*\d+)*,?[)]?|" + NO_VALUE, value):
        return f"[{', '.join(re.findall('[0-9]+', value))}]"
    if key in NONE_KEYS and re.fullmatch(NO_VALUE, value):
        return '"none", in quotes'
    for pattern, written in TOML_VALUES:
        if found := re.fullmatch(pattern, value):
            return str(found.expand(written))
    return ""


def control_character_hint(path: str) -> str:
    """Return what is wrong with a path that holds control characters, each shown as a name; "" for another path."""
    found = [c for c in dict.fromkeys(path) if c in CONTROL_CHARACTERS]
    if not found:
        return ""
    shown = meant = path
    for character in found:
        name, letter = CONTROL_CHARACTERS[character]
        shown, meant = shown.replace(character, f"<{name}>"), meant.replace(character, f"\\{letter}")
    escapes = " and ".join(f"\\{letter} means {name}" for name, letter in map(CONTROL_CHARACTERS.__getitem__, found))
    remedy = "with /" if "'" in path else f"in single quotes, '{meant}', or with /"
    return f"data is {shown}, which does not exist; in double quotes {escapes}: write the path {remedy}"

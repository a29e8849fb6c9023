"""Tables: seeds. They have no mutation of their own; their bytes are mutated."""

from fuzzing.case import Files


def csv_seeds() -> list[Files]:
    """Return tables with and without a header, in many dialects and encodings."""
    rows = [f"{'abc'[i % 3]},{i / 4},{i * i},{-i}" for i in range(12)]
    plain = "\n".join(rows) + "\n"
    header = "species,length,width,depth\n" + plain
    danish = header.replace(",", ";").replace(".", ",")
    numbers = "".join(f"{i % 3}\t{i}\t{i + 0.5}\r\n" for i in range(12))
    quoted = 'name,"a, b","c ""d"""\n' + "".join(f'"{"x y"[i % 3]}z","{i}",{i}\n' for i in range(8))
    one_hot = "a,b,p,q\n" + "".join(f"{i % 2},{1 - i % 2},{i},{i / 3:.3f}\n" for i in range(8))
    picture = "".join(f"{i % 2}," + ",".join(str((i * j) % 256) for j in range(64)) + "\n" for i in range(4))
    lines = "y,x\n" + "".join(f'"a\n{i % 2}",{i}\n' for i in range(6))
    texts = [plain, header, danish, numbers, quoted, one_hot, picture, lines, "sep=;\n" + danish,
             plain.replace(",", " "), plain.replace(",", "|"), "0,1,2,3\n" + plain, header.replace("0.5", "NA"),
             "".join(f"{i},{i * 1000:,}\n".replace(",", ";", 1) for i in range(6)),
             "y,x\n" + "1,2\n3,4\n" * 3,
             "# Logger 7\n# 27-11-2026\n\n" + header, header.replace("\n", "\ncm,cm,cm,cm\n", 1), header + header,
             header.replace(",", ", "), header.replace("\n", ",\n"), "# " + header.replace(",", " "),
             header.replace("1.5,", ","), header + "a,0.5,", header + ",,,\n\n" + plain, header.replace("-", "0"),
             "y,id,ok\n" + "".join(f"{i % 2},{9007199254740993 + i},{['TRUE', 'FALSE'][i % 2]}\n" for i in range(8)),
             "y,zip\n" + "".join(f"{i % 2},0{2134 + i}\n" for i in range(8)), plain.replace("\n", "\r")]  # fmt: skip
    files: list[Files] = [[("a.csv", text.encode())] for text in texts]
    files += [[("a.csv", header.encode(code))] for code in ("utf-8-sig", "utf-16", "utf-16-be")]
    files += [[("a.csv", header.replace("species", "æøå").encode("cp1252"))]]
    files += [[("train.csv", header.encode()), ("test.csv", text.encode())] for text in (header, danish, plain)]
    other = "depth,species,length,width\n" + "".join(f"{i},{'abc'[i % 3]},{i},{i}\n" for i in range(4))
    return [*files, [("train.csv", header.encode()), ("test.csv", other.encode())]]

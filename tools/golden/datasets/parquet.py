"""Writes datasets/testdata/parquet: small files as pyarrow and Hugging Face write them.

Record i of each is a 4x3 grey PNG whose upper left pixel is i and whose others
are 10, with label i*7 % 10 and captions as below, so that a test can compute them.
Run: python3 tools/golden/datasets/parquet.py datasets/testdata/parquet
"""
import io
import json
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import PIL
from PIL import Image

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
N = 50


def png(i):
    image = Image.new("L", (4, 3), 10)
    image.putpixel((0, 0), i)
    buf = io.BytesIO()
    image.save(buf, "png")
    return buf.getvalue()


def write(name, columns, hub=None, **options):
    table = pa.table(columns)
    if hub:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": hub}})})
    pq.write_table(table, os.path.join(out, name), **options)


label = pa.array([i * 7 % 10 for i in range(N)], pa.int64())
struct = pa.array([{"bytes": png(i), "path": f"n{i}.png"} for i in range(N)], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
names = {"_type": "ClassLabel", "names": [f"class {c}" for c in range(10)]}

# As datasets writes imagenet-1k: image{bytes, path}, dictionaries, Snappy, small row groups.
write("hub.parquet", {"image": struct, "label": label}, {"image": {"_type": "Image"}, "label": names}, row_group_size=20)
# Many pages a chunk without an index: the dictionary is given up after the first of them.
write("pages.parquet", {"image": struct, "label": label}, row_group_size=40, write_batch_size=4, data_page_size=1, dictionary_pagesize_limit=600)
# Pages of version 2, indexed, Zstandard; bare bytes under another name, several captions, another label, some of each missing.
write("lists.parquet", {
    "id": pa.array(range(N), pa.int32()),
    "photo": pa.array([None if i == 3 else png(i) for i in range(N)], pa.binary()),
    "kind": pa.array([None if i == 4 else i % 3 for i in range(N)], pa.int32()),
    "captions": pa.array([[f"{i}.{k}" for k in range(i % 4)] for i in range(N)], pa.list_(pa.string())),
}, {"photo": {"_type": "Image"}}, row_group_size=30, data_page_version="2.0", write_page_index=True, compression="zstd",
    use_dictionary=["kind"], write_batch_size=8, data_page_size=1)
# No compression, large strings, one caption.
write("plain.parquet", {"img": pa.array([png(i) for i in range(N)], pa.large_binary()), "label": label,
                        "text": pa.array([f"caption {i}" for i in range(N)], pa.large_string())}, compression="none", use_dictionary=False)

with open(os.path.join(out, "VERSIONS"), "w") as f:
    f.write(f"made by tools/golden/datasets/parquet.py with pyarrow {pa.__version__}, Pillow {PIL.__version__}\n")

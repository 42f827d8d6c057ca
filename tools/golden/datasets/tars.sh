#!/bin/sh
# Writes datasets/testdata/tars: three records as GNU tar and Python's tarfile
# store them in each of their formats; two where the format's names are short.
# Run: sh tools/golden/datasets/tars.sh datasets/testdata/tars
set -e
mkdir -p "$1"
out=$(cd "$1" && pwd)
work=$(mktemp -d)
cd "$work"
long=a-folder-with-a-long-name/$(printf 'k%.0s' $(seq 120))
mkdir a-folder-with-a-long-name
for pair in 00:3 01:4 "$long:5"; do
  printf 'image %s' "${pair#*:}" > "${pair%:*}.png"
  printf '%s\n' "${pair#*:}" > "${pair%:*}.cls"
done
fixed='--owner=0 --group=0 --mtime=@0 --sort=name'
tar $fixed --format=gnu -cf "$out/gnutar-gnu.tar" .
tar $fixed --format=pax --pax-option=delete=atime,delete=ctime -cf "$out/gnutar-pax.tar" .
tar $fixed --format=ustar -cf "$out/gnutar-ustar.tar" ./0*
tar $fixed --format=v7 -cf "$out/gnutar-v7.tar" 0*
python3 - "$out" <<'PY'
import glob, sys, tarfile
for name, form in (("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)):
    with tarfile.open(f"{sys.argv[1]}/python-{name}.tar", "w", format=form) as t:
        for file in sorted(glob.glob("0*" if name == "ustar" else "**/*.*", recursive=True)):
            info = t.gettarinfo(file)
            info.mtime, info.uid, info.gid, info.uname, info.gname = 0.25 if name == "pax" else 0, 0, 0, "", ""
            t.addfile(info, open(file, "rb"))
PY
{ tar --version | head -1; python3 --version; } > "$out/VERSIONS"
rm -r "$work"

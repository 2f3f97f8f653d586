#!/usr/bin/env bash
# Validates JUnit files against the schema that most tools follow, Jenkins' junit-10.xsd:
#   bash tools/validate_junit.sh nightly/sweeps/nightly/latest/junit.xml nightly/*/*/junit.xml
# Needs `apt-get install libxml2-utils` and the Python package index.
#
# Rules: the schema is taken from where it is published, the source archive of pytest, whose own
# files are tested with it; nothing is kept.
set -euo pipefail

[ $# -gt 0 ] || { echo "usage: $0 JUNIT.XML ..." >&2; exit 2; }
command -v xmllint >/dev/null || { echo "xmllint is missing: apt-get install -y libxml2-utils" >&2; exit 2; }
python=.venv/bin/python
[ -x "$python" ] || python=python3

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"$python" -m pip download --quiet --no-deps --no-binary pytest --dest "$folder" pytest
tar -xzf "$folder"/pytest-*.tar.gz -C "$folder" --strip-components 3 --wildcards '*/junit-10.xsd'
xmllint --noout --schema "$folder/junit-10.xsd" "$@"

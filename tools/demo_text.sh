#!/bin/sh
# Writes real English text for the demo to FILE and prints one line that says which it is.
# First choice: the manual of Perl (package perl-doc, downloaded, not installed); without a network: texts that every Debian has.
# usage: demo_text.sh FILE
set -eu

out=$1
if [ -s "$out" ] && [ -s "$out.name" ]; then
    cat "$out.name"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
mkdir -p "$(dirname "$out")"

# Prose only: indented lines are code examples, lines with '=' are markup.
prose() { sed -e 's/^=head[0-9] *//' -e '/^=/d' -e '/^[[:space:]]/d' -e 's/[A-Z]<\([^<>]*\)>/\1/g' | cat -s; }

name=""
chmod 755 "$folder"
if pods=$(find /usr/share/perl/5* -name 'perlfunc.pod' 2>/dev/null) && [ -n "$pods" ]; then
    from=$(dirname "$pods")
elif command -v apt-get >/dev/null 2>&1 &&
    (cd "$folder" && timeout 60 apt-get download -qq perl-doc >/dev/null 2>&1 ||
        { timeout 60 apt-get update -qq >/dev/null 2>&1 && timeout 60 apt-get download -qq perl-doc >/dev/null 2>&1; }) &&
    dpkg-deb -x "$folder"/perl-doc_*.deb "$folder/perl-doc"; then
    from=$(dirname "$(find "$folder/perl-doc" -name 'perlfunc.pod')")
else
    from=""
fi
if [ -n "$from" ]; then
    # The histories of releases are lists; the manual is text.
    find "$from" -name '*.pod' ! -name 'perl5*delta.pod' ! -name 'perltoc.pod' | LC_ALL=C sort | while read -r pod; do
        iconv -f UTF-8 -t UTF-8 "$pod" >/dev/null 2>&1 && prose <"$pod"
    done >"$folder/text"
    name="the manual of Perl (Debian's package perl-doc)"
fi
if [ ! -s "$folder/text" ]; then
    find /usr/share/common-licenses /usr/share/perl /usr/share/perl5 /usr/share/doc -type f \
        \( -path '*/common-licenses/*' -o -name '*.pod' -o -name 'README*' -o -name 'copyright' -o -name '*.txt' \) 2>/dev/null |
        LC_ALL=C sort | while read -r file; do
            iconv -f UTF-8 -t UTF-8 "$file" >/dev/null 2>&1 && ! grep -q -m1 -P '\x00' "$file" && cat "$file" && echo
        done >"$folder/text"
    name="licences and package texts found under /usr/share"
fi
if [ "$(wc -c <"$folder/text")" -lt 150000 ]; then
    echo "demo_text: found only $(wc -c <"$folder/text") bytes of text here; use your own: make demo TEXT=my.txt" >&2
    exit 1
fi
echo "$name" >"$out.name"
mv "$folder/text" "$out"
echo "$name"

"""Hostile requests: mutated pictures, headers, forms and JSON; python mutated.py URL LINE FOLDER COUNT [SEED].

The service answers each with a status that its description names and never with 500, lives on, and scores the picture that it
scored first exactly as before.
"""

import http.client
import pathlib
import random
import sys
import urllib.parse

url, line, folder, count = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3]), int(sys.argv[4])
dice = random.Random(int(sys.argv[5]) if len(sys.argv) > 5 else 0)
pictures = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
inspect = f"/v1/lines/{line}/inspect"


def ask(method, path, body=b"", headers=None):
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def mutated(data):
    data = bytearray(data)
    for _ in range(dice.randint(1, 12)):
        place = dice.randrange(len(data)) if data else 0
        kind = dice.randrange(5)
        if kind == 0 and data:
            data[place] ^= 1 << dice.randrange(8)
        elif kind == 1 and data:
            data[place] = dice.choice([0, 0xFF, 0x7F, 0x80])
        elif kind == 2:
            del data[place : place + dice.randint(1, 64)]
        elif kind == 3:
            data[place:place] = dice.randbytes(dice.randint(1, 64))
        else:
            del data[dice.randint(0, len(data)) :]
    return bytes(data)


def request():
    picture = mutated(dice.choice(pictures))
    kind = dice.randrange(6)
    if kind <= 2:
        return "POST", inspect, picture, {}
    if kind == 3:
        form = b'--cut\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n' + picture + b"\r\n--cut--\r\n"
        return "POST", inspect, mutated(form), {"Content-Type": "multipart/form-data; boundary=cut"}
    if kind == 4:
        text = dice.choice(['{"path": "a.png"}', '{"label": "good"}', '{"how": "recalibrate", "inspections": [1]}', '{"inputs": []}'])
        path = dice.choice([inspect, f"/v1/lines/{line}/inspections/1/label", f"/v1/lines/{line}/versions", f"/v2/models/{line}/infer"])
        method = "PUT" if path.endswith("label") else "POST"
        return method, path, mutated(text.encode()), {"Content-Type": "application/json"}
    path = dice.choice(["/v1/lines/", "/assets/", f"/v1/lines/{line}/inspections/", f"/v1/lines/{line}/inspections?"])
    return "GET", path + urllib.parse.quote(mutated(b"12/../image%00?verdict=good&limit=5")), b"", {}


first = ask("POST", inspect, pictures[0])[1].split(b'"score":')[1].split(b",")[0]
seen = {}
for number in range(count):
    method, path, body, headers = request()
    status, text = ask(method, path, body, headers)
    seen[status] = seen.get(status, 0) + 1
    assert status < 500 or status == 503, (number, method, path, status, text[:300])
again = ask("POST", inspect, pictures[0])[1].split(b'"score":')[1].split(b",")[0]
assert first == again, (first, again)
print(f"{count} hostile requests, answered by status: {dict(sorted(seen.items()))}")

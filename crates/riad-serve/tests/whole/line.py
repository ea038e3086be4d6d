"""A whole line, from training to the PLC, with its troubles, in one run.

python line.py RIAD DATA PAGE [SECONDS]: the program, a category in MVTec AD's layout, the folder of the browser's tests, and how long
each trouble lasts (default 60). It works in a folder of its own, prints a line for each thing that it has seen, and ends with 1 at the
first that is not so. It needs curl, mosquitto, Node with the packages of PAGE, and Python with paho-mqtt and pymodbus; with faketime it
also moves the clock.
"""

import atexit
import csv
import glob
import hashlib
import hmac
import http.server
import itertools
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import paho.mqtt.client
from pymodbus.client import ModbusTcpClient

RIAD, DATA, PAGE = sys.argv[1], pathlib.Path(sys.argv[2]).resolve(), pathlib.Path(sys.argv[3]).resolve()
TROUBLE = float(sys.argv[4]) if len(sys.argv) > 4 else 60.0
CLIENTS = 4
VERDICTS = {"good": 1, "defective": 2, "not_this_product": 3, "error": 4}
SECRET = "a-key-for-the-webhook"

root = pathlib.Path(tempfile.mkdtemp(prefix="riad-line-"))
os.chdir(root)
pathlib.Path("secret").write_text(SECRET + "\n")
begun = time.monotonic()


def tell(words):
    print(f"{time.monotonic() - begun:6.0f} s  {words}", flush=True)


def until(what, is_so, seconds=120):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"it never came that {what}"
        time.sleep(0.05)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def riad(*arguments):
    return subprocess.run([RIAD, "-q", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


# The peers. ----------------------------------------------------------------------------------------------------------------------------


class Broker:
    """mosquitto, and a subscriber that keeps all it hears."""

    def __init__(self):
        self.port = free_port()
        # What it keeps for a subscriber must outlive it. As another user than root it could not write here.
        pathlib.Path("mosquitto.conf").write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {root}/\nuser root\n")
        self.heard, self.process = queue.Queue(), None
        self.start()
        # What comes while it is away is kept for it.
        version = paho.mqtt.client.CallbackAPIVersion.VERSION2
        self.client = paho.mqtt.client.Client(version, client_id="subscriber", clean_session=False)
        self.client.on_connect = lambda client, *_: client.subscribe("riad/#", 1)
        self.client.on_message = lambda _c, _u, message: self.heard.put((message.topic, message.payload))
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", self.port)
        self.client.loop_start()

    def start(self):
        self.process = subprocess.Popen(["mosquitto", "-c", "mosquitto.conf"], stderr=subprocess.DEVNULL)

        def answers():
            with socket.socket() as one:
                return one.connect_ex(("127.0.0.1", self.port)) == 0

        until("mosquitto listens", answers)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes webhooks, and keeps the number of each whose signature is right."""

    ids = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        at, signature = (part.split("=")[1] for part in self.headers["Riad-Signature"].split(","))
        expected = hmac.new(SECRET.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
        is_ours = hmac.compare_digest(expected, signature)
        if is_ours:
            Receiver.ids.append(json.loads(body)["id"])
        self.send_response(200 if is_ours else 403)
        self.end_headers()

    def log_message(self, *_):
        pass


class Plc:
    """Reads the map of docs/plc.md in one request."""

    def __init__(self, port):
        self.client = ModbusTcpClient("127.0.0.1", port=port)
        assert self.client.connect()

    def read(self):
        _, state, verdict, sequence, high, low, id_high, id_low, flags = self.client.read_holding_registers(0, count=9).registers
        score = struct.unpack(">f", struct.pack(">HH", high, low))[0]
        return {"state": state, "verdict": verdict, "sequence": sequence, "score": score, "id": id_high << 16 | id_low, "flags": flags}


# The service. --------------------------------------------------------------------------------------------------------------------------


class Service:
    def __init__(self, faked):
        self.port, self.modbus = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.command = [
            RIAD, "serve", "--line", "line=run", "--fpr", "0.05", "--audit", "1/1", "--listen", f"127.0.0.1:{self.port}", "--keep", "30d",
            "--mqtt", f"mqtt://127.0.0.1:{broker.port}", "--webhook", f"http://127.0.0.1:{receiver.server_port}/", "--webhook-secret", "secret",
            "--modbus-server", str(self.modbus), "--store", "store",
        ]  # fmt: skip
        environment = dict(os.environ)
        if faked:
            library = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")[0]
            pathlib.Path("clock").write_text("+0")
            environment |= {
                "LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(root / "clock"), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }  # fmt: skip
        self.process = subprocess.Popen(self.command, env=environment, stderr=open("serve.log", "ab"))
        until("the service answers", self.is_up)

    def is_up(self):
        assert self.process.poll() is None, pathlib.Path("serve.log").read_text()
        try:
            return self.get("/healthz") is not None
        except OSError:
            return False

    def ask(self, path, method="GET", body=None):
        request = urllib.request.Request(self.url + path, method=method, data=None if body is None else json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
            return json.loads(text) if answer.headers["Content-Type"].startswith("application/json") else text

    def get(self, path):
        return self.ask(path)

    def inspect(self, picture):
        """Sends a picture by curl."""
        place = f"{self.url}/v1/lines/line/inspect"
        sent = subprocess.run(["curl", "-sS", "-m", "30", "--data-binary", f"@{picture}", place], check=True, capture_output=True, text=True)
        return json.loads(sent.stdout)


def under_load(seconds, trouble=lambda: None):
    """Sends pictures by several clients meanwhile, and gives the answers."""
    answers, failures, ends = [], [], threading.Event()

    def client(pictures):
        try:
            for picture in itertools.cycle(pictures):
                if ends.is_set():
                    return
                answers.append(service.inspect(picture))
        except Exception as failure:  # A thread's failure would be seen by nobody.
            failures.append(failure)

    clients = [threading.Thread(target=client, args=(test[number:] + test[:number],)) for number in range(CLIENTS)]
    [one.start() for one in clients]
    end = time.monotonic() + seconds
    trouble()
    time.sleep(max(0.0, end - time.monotonic()))
    ends.set()
    [one.join() for one in clients]
    assert answers and not failures, failures
    assert all(answer["verdict"] in ("good", "defective") for answer in answers), answers
    return answers


# 1. Train.
riad("train", DATA, "--size", "128", "--preset", "tiny", "--seed", "0", "--out", "run")
tell(f"trained tiny at 128x128 on {len(list((DATA / 'train/good').iterdir()))} images of {DATA.name}")
test = sorted(DATA.glob("test/*/*.png"))
good = [picture for picture in test if picture.parent.name == "good"]
rows = csv.DictReader(riad("score", "--model", "run", "--fpr", "0.05", *test).splitlines())
expected = {row["path"]: row for row in rows}

# 2. Serve, and send every test image by curl.
broker = Broker()
atexit.register(broker.stop)
receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
faked = bool(shutil.which("faketime"))
service = Service(faked)
atexit.register(service.process.kill)
plc = Plc(service.modbus)
answered, sequence = [], plc.read()["sequence"]
for picture in test:
    answer = service.inspect(picture)
    row = expected[str(picture)]
    assert (struct.pack("f", answer["score"]), answer["verdict"]) == (struct.pack("f", float(row["score"])), row["verdict"]), (answer, row)
    until("the PLC sees the next sequence", lambda: plc.read()["sequence"] == (sequence + 1) % 65536)
    seen, sequence = plc.read(), (sequence + 1) % 65536
    assert (seen["id"], seen["verdict"]) == (answer["id"], VERDICTS[answer["verdict"]]), (seen, answer)
    assert struct.pack("f", seen["score"]) == struct.pack("f", answer["score"]), (seen, answer)
    assert seen["flags"] in (0, {"good": 3}.get(answer["verdict"], 5)), (seen, answer)
    answered.append(answer)
stopped = sum(answer["verdict"] != "good" for answer, picture in zip(answered, test) if picture not in good)
alarms = sum(answer["verdict"] != "good" for answer, picture in zip(answered, test) if picture in good)
tell(f"{len(test)} images by curl: scores and verdicts are those of riad score; stops {stopped} of {len(test) - len(good)} defects and {alarms} of {len(good)} good ones")
tell(f"the PLC read each of the {len(test)} verdicts beside its own sequence and score (pymodbus)")

# 3. The page.
shown = subprocess.run(["node", PAGE / "line.js", service.url, root / "page.png"], capture_output=True, text=True)
assert shown.returncode == 0, shown.stderr
tell(shown.stdout.strip())

# 4. Label, recalibrate, switch.
for answer, picture in zip(answered, test):
    service.ask(f"/v1/lines/line/inspections/{answer['id']}/label", "PUT", {"label": "good" if picture in good else "defective"})
ids = [answer["id"] for answer, picture in zip(answered, test) if picture in good]
made = service.ask("/v1/lines/line/versions", "POST", {"how": "recalibrate", "inspections": ids})
newest = lambda: service.get("/v1/lines/line/versions")["versions"][0]
until("the version is made", lambda: newest()["state"] != "making")
assert (newest()["state"], newest()["version"]) == ("ready", made["version"]), newest()
(would, was, defects), (alarms, alarmed, goods) = newest()["trial"]["defects"], newest()["trial"]["false_alarms"]
tell(f"recalibrated with {len(ids)} audited good ones: would find {would} of {defects} defects (now {was}), stop {alarms} of {goods} good ones (now {alarmed})")
before = service.inspect(test[-1])
service.ask(f"/v1/lines/line/versions/{made['version']}/use", "POST")
after = service.inspect(test[-1])
answered += [before, after]
assert before["score"] == after["score"] and (before["version"], after["version"]) == (1, made["version"]), (before, after)
service.ask("/v1/lines/line/versions/1/use", "POST")
tell(f"version {made['version']} was put to use between two pictures, and back")

# 5. The broker is gone under load.


def without_broker():
    broker.stop()
    time.sleep(TROUBLE)
    broker.start()


answers = under_load(TROUBLE + 5, without_broker)
answered += answers
tell(f"broker gone for {TROUBLE:.0f} s under load: {len(answers)} pictures judged meanwhile")

# 6. The clock is moved under load.
if faked:

    def moved():
        for offset in ("+40d", "-2d", "+0"):
            pathlib.Path("clock").write_text(offset)
            time.sleep(TROUBLE / 3)

    answers = under_load(TROUBLE, moved)
    answered += answers
    tell(f"clock set 40 days forward, 2 days back and right again under load: {len(answers)} pictures judged")
else:
    tell("not run: the clock was not moved, for there is no faketime")

# 7. A second process on the store.
second = [RIAD, "serve", "--line", "line=run", "--store", "store", "--listen", "127.0.0.1:0"]
second = subprocess.run(second, capture_output=True, text=True, timeout=60)
assert second.returncode == 1 and "store" in second.stderr, second
tell(f"a second process is refused: {second.stderr.strip()}")

# 8. Everything came through, once the peers have caught up.
wanted = sorted(answer["id"] for answer in answered)
heard, states = [], []


def listen():
    while not broker.heard.empty():
        topic, payload = broker.heard.get()
        if topic.endswith("/inspection"):
            heard.append(json.loads(payload)["id"])
        if topic == "riad/status":
            states.append(payload.decode())


def caught_up():
    listen()
    return set(wanted) <= set(heard) and set(wanted) <= set(Receiver.ids)


until("MQTT and the webhook have all", caught_up)
for name, ids in (("MQTT", heard), ("webhook", Receiver.ids)):
    first = list(dict.fromkeys(ids))
    assert first == sorted(first), f"{name} is out of order"
    tell(f"{name}: {len(first)} inspections in order, {len(ids) - len(first)} came twice")

# 9. The end, and what is kept.
service.process.send_signal(signal.SIGTERM)
assert service.process.wait(60) == 0
rows = {row[0]: row for row in sqlite3.connect("store/riad.sqlite").execute("select id, score, picture from inspection")}
for answer in answered:
    _, score, picture = rows[answer["id"]]
    assert struct.pack("f", score) == struct.pack("f", answer["score"]), answer
    assert picture and (pathlib.Path("store/pictures") / picture).is_file(), answer
assert len(rows) == len(set(wanted)) == len(wanted), (len(rows), len(wanted))
tell(f"stored: {len(rows)} rows for {len(wanted)} answers, none twice, each with what was answered and its picture")


def is_offline():
    listen()
    return states[-1] == "offline"


until("MQTT says offline", is_offline)
assert not ModbusTcpClient("127.0.0.1", port=service.modbus).connect()
tell("after the end MQTT says offline, and the PLC reaches nobody")
tell(f"all of it is in {root}")

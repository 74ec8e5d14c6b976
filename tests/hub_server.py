"""A small Hugging Face Hub in this process: the routes that huggingface_hub uses to make, fill, describe and read repositories.

It keeps commits as the real one does: each has all files, a branch names one. Files of .safetensors and .bin are large files, which
are sent apart from the commit and served from another address, with ranges.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin")
TOKEN = "hf_" + "t" * 34


class Repository:
    def __init__(self, kind="models", private=False, sdk=None):
        self.kind, self.private, self.sdk = kind, private, sdk
        self.commits = {}
        self.messages = []
        self.branches = {}
        self.commit("main", {}, "initial commit")

    def commit(self, branch, changes, message):
        """Change files, path -> content or None, on a branch. Returns the name of the commit."""
        before = self.commits.get(self.branches.get(branch, ""), {})
        files = {path: content for path, content in {**before, **changes}.items() if content is not None}
        self.messages.append(message)
        sha = hashlib.sha1(repr((message, len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[sha], self.branches[branch] = files, sha
        return sha

    def files(self, revision="main"):
        return self.commits[self.branches.get(revision, revision)]


class Hub(ThreadingHTTPServer):
    """Attributes:
    repositories: by (kind, name). requests: (method, path) of all that came.
    cuts: path of a file -> bytes after which its transfer breaks off; the next try is answered with 503.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories, self.requests, self.large, self.cuts = {}, [], {}, {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def add(self, name, files, kind="models", **options):
        """Make a repository that holds these files."""
        self.repositories[kind, name] = found = Repository(kind, **options)
        found.commit("main", files, "files")
        return found

    def fetched(self):
        """Names of the files that were read."""
        return {path.rpartition("/")[2] for method, path in self.requests if method == "GET" and "/resolve/" in path}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def handle_any(self):
        url = urlsplit(self.path)
        self.path, self.query = url.path, parse_qs(url.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path))
        for pattern, method in ROUTES:
            if found := re.fullmatch(pattern, self.path):
                return method(self, **{name: unquote(value) for name, value in found.groupdict().items() if value})
        self.refuse(404, "EntryNotFound", f"no route {self.command} {self.path}")

    do_GET = do_POST = do_PUT = do_HEAD = handle_any  # noqa: N815  as http.server has it

    # -- answers -------------------------------------------------------------------------------------------------------

    def answer(self, value, status=200, headers=None):
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def refuse(self, status, code="", message=""):
        self.answer({"error": message}, status, {"X-Error-Code": code, "X-Error-Message": message})

    def allowed(self, private):
        """Whether the request's token is good for this; a wrong token is refused everywhere."""
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if given and given != TOKEN:
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif private and not given:
            self.refuse(401, "RepoNotFound", "Repository not found")
        return given == TOKEN or not (given or private)

    def found(self, name, kind="models", revision="main"):
        """The repository and the name of a commit; None after a refusal."""
        repository = self.server.repositories.get((kind, name))
        if not self.allowed(repository is None or repository.private):
            return None
        if repository is None:
            return self.refuse(404, "RepoNotFound", "Repository not found")
        sha = repository.branches.get(revision, revision)
        if sha not in repository.commits:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repository, sha

    # -- the routes ----------------------------------------------------------------------------------------------------

    def who(self):
        if self.allowed(private=True):
            self.answer({"type": "user", "name": "user", "auth": {"accessToken": {"role": "write"}}})

    def create(self):
        asked = json.loads(self.body)
        name, kind = f"{asked['organization']}/{asked['name']}", asked.get("type", "model") + "s"
        if not self.allowed(private=True):
            return
        if asked["organization"] != "user":
            return self.refuse(403, "", "You don't have the rights to create a model under this namespace")
        if (kind, name) in self.server.repositories:
            return self.answer({"error": "You already created this repo", "url": f"{self.server.url}/{name}"}, 409)
        private = asked.get("private", False) or asked.get("visibility") == "private"
        self.server.repositories[kind, name] = Repository(kind, private, asked.get("sdk"))
        self.answer(
            {"url": f"{self.server.url}/{'' if kind == 'models' else kind + '/'}{name}", "name": name, "id": name}
        )

    def info(self, name, kind, revision="main"):
        if found := self.found(name, kind, revision):
            repository, sha = found
            files = [{"rfilename": path} for path in sorted(repository.commits[sha])]
            self.answer(
                {"id": name, "modelId": name, "sha": sha, "private": repository.private, "siblings": files, "tags": []}
            )

    def tree(self, name, kind, revision):
        if found := self.found(name, kind, revision):
            repository, sha = found
            self.answer([described(path, content) for path, content in sorted(repository.commits[sha].items())])

    def branch(self, name, kind, branch):
        if found := self.found(name, kind):
            repository, sha = found
            if branch in repository.branches:
                return self.answer({"error": "Reference already exists"}, 409)
            repository.branches[branch] = sha
            self.answer({})

    def preupload(self, name, kind, revision):
        if found := self.found(name, kind, revision):
            repository, sha = found
            files = []
            for asked in json.loads(self.body)["files"]:
                there = repository.commits[sha].get(asked["path"])
                own = {"oid": described(asked["path"], there)["oid"]} if there is not None else {}
                mode = "lfs" if asked["path"].endswith(LARGE) else "regular"
                files.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, **own})
            self.answer({"files": files})

    def batch(self, name):
        objects = json.loads(self.body)["objects"]
        for each in objects:
            if each["oid"] not in self.server.large:
                each["actions"] = {"upload": {"href": f"{self.server.url}/large/{each['oid']}", "header": {}}}
        self.answer({"transfer": "basic", "objects": objects})

    def put(self, oid):
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.server.large[oid] = self.body
        self.answer({})

    def commit(self, name, kind, revision):
        if not (found := self.found(name, kind, revision)) or not self.allowed(private=True):
            return
        changes, message = {}, ""
        for line in self.body.splitlines():
            step = json.loads(line)
            value = step["value"]
            if step["key"] == "header":
                message = value["summary"]
            elif step["key"] == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            elif step["key"] == "lfsFile":
                changes[value["path"]] = self.server.large[value["oid"]]
            else:
                assert step["key"] == "deletedFile"
                changes[value["path"]] = None
        sha = found[0].commit(revision, changes, message)
        place = name if kind == "models" else f"{kind}/{name}"
        self.answer({"success": True, "commitOid": sha, "commitUrl": f"{self.server.url}/{place}/commit/{sha}"})

    def check_card(self):
        assert "content" in json.loads(self.body)
        self.answer({"errors": [], "warnings": []})

    def resolve(self, name, revision, path, kind="models"):
        if not (found := self.found(name, kind, revision)):
            return
        repository, sha = found
        if path not in repository.commits[sha]:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        content = repository.commits[sha][path]
        about = described(path, content)
        headers = {"X-Repo-Commit": sha, "ETag": f'"{about["oid"]}"', "Accept-Ranges": "bytes"}
        if "lfs" in about:
            headers |= {"X-Linked-Etag": f'"{about["lfs"]["oid"]}"', "X-Linked-Size": str(len(content))}
        if self.command == "HEAD":
            return self.answer(content, headers=headers)
        start = int(match[1]) if (match := re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))) else 0
        rest, after = content[start:], self.server.cuts.get(path)
        headers |= {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        if after is None:
            return self.answer(rest, 206 if start else 200, headers)
        if after == 0:
            return self.refuse(503, "", "the disk of the Hub is on fire")
        self.server.cuts[path] = 0
        self.send_response(200)
        for header, text in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(header, text)
        self.end_headers()
        self.wfile.write(content[:after])
        self.close_connection = True


def described(path, content):
    """A file as a listing of the Hub has it; its oid is what git, or for large files LFS, calls it."""
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    found = {"type": "file", "path": path, "size": len(content), "oid": oid}
    if path.endswith(LARGE):
        large = hashlib.sha256(content).hexdigest()
        found |= {"oid": large, "lfs": {"oid": large, "size": len(content), "pointerSize": 134}}
    return found


API = r"/api/(?P<kind>models|spaces)/(?P<name>[^/]+/[^/]+)"
ROUTES = [
    (r"/api/whoami-v2", Handler.who),
    (r"/api/repos/create", Handler.create),
    (r"/api/validate-yaml", Handler.check_card),
    (API + r"(/revision/(?P<revision>[^/]+))?", Handler.info),
    (API + r"/tree/(?P<revision>[^/]+)", Handler.tree),
    (API + r"/branch/(?P<branch>[^/]+)", Handler.branch),
    (API + r"/preupload/(?P<revision>[^/]+)", Handler.preupload),
    (API + r"/commit/(?P<revision>[^/]+)", Handler.commit),
    (r"/(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch", Handler.batch),
    (r"/large/(?P<oid>\w+)", Handler.put),
    (r"/(?:(?P<kind>spaces)/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler.resolve),
]

//! `cl upload` of URLs and git repositories: the server fetches them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use codalab_tests::{Setup, System};
use serde_json::{Value, json};
use testkit::{Engine, TempDir, free_port, wait_until};

/// Serves the files of its working directory, and git repositories below `/git/` by git's own CGI program.
const ORIGIN: &str = r"
import http.server, os, subprocess, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def git(self):
        path, _, query = self.path[4:].partition('?')
        body = self.rfile.read(int(self.headers.get('content-length') or 0))
        env = dict(os.environ, GIT_PROJECT_ROOT=os.getcwd(), GIT_HTTP_EXPORT_ALL='1', PATH_INFO=path, QUERY_STRING=query,
                   REQUEST_METHOD=self.command, CONTENT_TYPE=self.headers.get('content-type', ''),
                   HTTP_CONTENT_ENCODING=self.headers.get('content-encoding', ''),
                   GIT_PROTOCOL=self.headers.get('git-protocol', ''))
        out = subprocess.run(['git', 'http-backend'], input=body, env=env, stdout=subprocess.PIPE).stdout
        head, _, rest = out.partition(b'\r\n\r\n')
        fields = [line.decode().split(': ', 1) for line in head.split(b'\r\n')]
        self.send_response(int(dict(fields).get('Status', '200')[:3]))
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(rest)
    def do_GET(self):
        self.git() if self.path.startswith('/git/') else super().do_GET()
    do_POST = git
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
";

struct Origin {
    port: u16,
    process: std::process::Child,
    _directory: TempDir,
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn git(directory: &Path, arguments: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{arguments:?}");
}

/// A web server with `page.html`, `set.tar.gz` and `/git/repo.git`.
fn origin() -> Origin {
    let directory = testkit::temp_home();
    let root = directory.path();
    fs::write(root.join("page.html"), "<p>page</p>").unwrap();
    fs::create_dir(root.join("work")).unwrap();
    fs::write(root.join("work/README"), "read me").unwrap();
    let packed = Command::new("tar")
        .args(["-czf", "set.tar.gz", "-C", "work", "README"])
        .current_dir(root)
        .status();
    assert!(packed.unwrap().success());
    git(&root.join("work"), &["init", "-q"]);
    git(&root.join("work"), &["add", "."]);
    git(&root.join("work"), &["commit", "-q", "-m", "first"]);
    git(root, &["clone", "-q", "--bare", "work", "repo.git"]);
    let port = free_port();
    let process = Command::new("/usr/bin/python3")
        .args(["-c", ORIGIN, &port.to_string()])
        .current_dir(root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the web server to listen", std::time::Duration::from_secs(20), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    Origin {
        port,
        process,
        _directory: directory,
    }
}

/// Lets the instance fetch from this machine.
fn allow(system: &mut System, rule: &str) {
    system.stop_instance();
    let path = system.home().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["storage"] = json!({"fetch": {"allow": [rule]}});
    fs::write(&path, config.to_string()).unwrap();
    system.start_instance();
}

#[test]
fn urls_and_repositories_are_uploaded_by_both_clients() {
    let origin = origin();
    let base = format!("http://127.0.0.1:{}", origin.port);
    let mut system = System::start(Setup::without_worker(Engine::Sqlite));
    // Nothing private is fetched before the operator allows it, and the client says who can.
    let refused = system.cl().run(&["upload", &format!("{base}/page.html")]);
    refused.fails(1);
    let told = refused.to_string();
    assert!(
        told.contains("address not allowed") && told.contains("storage/fetch/allow"),
        "{told}"
    );

    allow(&mut system, "127.0.0.1");
    for cl in [system.cl(), system.python_cl()] {
        let page = cl.ok(&["upload", &format!("{base}/page.html")]);
        assert_eq!(cl.ok(&["cat", &page]), "<p>page</p>");
        assert_eq!(system.field(&page, "name"), "page.html");
        let set = cl.ok(&["upload", &format!("{base}/set.tar.gz?version=2"), "-n", "set"]);
        assert_eq!(cl.ok(&["cat", &format!("{set}/README")]), "read me");
        let cloned = cl.ok(&["upload", "-g", &format!("{base}/git/repo.git"), "-n", "cloned"]);
        assert_eq!(cl.ok(&["cat", &format!("{cloned}/README")]), "read me");
        assert!(
            cl.ok(&["cat", &format!("{cloned}/.git/HEAD")]).starts_with("ref: "),
            ".git is kept"
        );
        assert_eq!(system.field(&cloned, "state"), "ready");
        let missing = cl.run(&["upload", &format!("{base}/missing")]);
        missing.fails(1);
        let told = missing.to_string();
        assert!(
            told.contains("Can not fetch") && told.contains("HTTP status 404"),
            "{told}"
        );
    }
}

//! Whole terminal sessions against a real server in this process. Each snapshot shows what a person would see: typed
//! lines begin with `$`, lines of stderr with `!`, and an exit status other than 0 stands at the end.

// The harness is test code, too; without it there is nothing to test.
#![allow(clippy::unwrap_used)]

mod instance;

use instance::Terminal;

#[tokio::test(flavor = "multi_thread")]
async fn worksheets_are_made_switched_edited_and_printed() {
    let mut terminal = Terminal::start().await;
    terminal.write(
        "sheet.md",
        "# Neu ü \n\n{params}\n{{home-mira}}\n// a note\n% display table\n",
    );
    for line in [
        "work",
        "new rivers",
        "new rivers",
        "new 'bad name'",
        "work rivers",
        "status",
        "upload -c 'alpha = 0.3' -n params",
        "add text '## Results' '- item' '% display contents / maxlines=3'",
        "add bundle params",
        "add worksheet home-mira",
        "print",
        "print -r",
        "wedit -t 'River study' -T hydro paper",
        "wedit -f sheet.md",
        "print -r",
        "print",
        "ls -u",
        "ls -f name,state,nosuch",
        "wedit -T -n rivers2",
        "wls .mine name=.sort",
        "wls nosuch",
        "wedit -f /dev/null",
        "print rivers2",
        "work nosuch",
        "work nowhere::",
        "add text x -d",
    ] {
        terminal.cl(line).await;
    }
    insta::assert_snapshot!(terminal.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_added_copied_and_edited() {
    let mut terminal = Terminal::start().await;
    terminal.write(
        "append.sh",
        "printf '%s\\n' '' '## More' \"trailing blanks  \" >> \"$1\"\n",
    );
    terminal.write("same.sh", "true\n");
    terminal.write("latin1.md", "");
    std::fs::write(terminal.path("latin1.md"), b"caf\xe9\n").unwrap();
    for line in [
        "work",
        "new source",
        "new target",
        "work source",
        "upload -c 'a' -n a",
        "upload -c 'b' -n b",
        "run :a 'cat a' -n copy",
        "add bundle a b nosuch",
        "add bundle b a --dest-worksheet target",
        "add text '%   display record name  ' '// not a comment yet' '{a}' '% add \"open'",
        "add text '%   display record name  ' '// not a comment yet' '{a}' 'Grüße 😀' '%' 'two\nlines'",
        "add bundle a",
        "add worksheet target source home-mira",
        "add worksheet nosuch",
        "print -r",
        "wadd source target",
        "print -r target",
        "wadd target target",
        "ls -u -w target",
        "wadd source target -r",
        "print target",
        "wadd source",
        "wadd nosuch target",
        "new empty",
        "wadd empty target",
        "wadd empty target --replace",
        "print -r target",
        "wedit target -f latin1.md",
        "wedit target -f missing.txt",
        "wedit target --freeze",
        "add text x --dest-worksheet target",
        "wadd source target",
        "wedit target -f append.sh",
        "wedit target --unfreeze",
        "add perhaps x",
    ] {
        terminal.cl(line).await;
    }
    for (editor, line) in [
        ("same.sh", "wedit target"),
        ("append.sh", "wedit target"),
        ("same.sh", "wedit target"),
    ] {
        let editor = format!("sh {}", terminal.path(editor).display());
        terminal.set("EDITOR", &editor);
        terminal.cl(line).await;
    }
    terminal.cl("print -r target").await;
    insta::assert_snapshot!(terminal.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_up_and_come_back() {
    let mut terminal = Terminal::start().await;
    terminal.write("a.txt", "c\nb\na\n");
    terminal.write("dir/x.txt", "hi\n");
    terminal.write("dir/sub/y z", "yo\n");
    terminal.write("dir/skip.o", "");
    terminal.link("/etc/passwd", "dir/link");
    for line in [
        "upload a.txt --description hello --tags a b",
        "upload dir -x '*.o'",
        "upload a.txt dir -n both",
        "upload -z a.txt -n small",
        "upload dir/link",
        "upload missing.txt",
        "upload",
        "upload a.txt -c text",
        "upload http://h/x a.txt",
        "upload a.txt -d é",
        "ls",
        "info -f name,state,data_size,description,tags,license,nosuch a.txt",
        "info a.txt",
        "info -v dir",
        "cat a.txt",
        "cat a.txt --head 1",
        "cat dir",
        "cat dir/sub",
        "cat 'dir/sub/y z'",
        "cat dir/link",
        "cat dir/nope",
        "cat nope",
        "cat both",
        "cat small",
        "info -f /x.txt,name dir",
        "download a.txt -o copy",
        "download a.txt -o copy",
        "download a.txt -o copy -f",
        "download dir -o tree",
        "download dir/sub -o sub",
        "download dir/link",
        "download dir/nope",
        "make x:a.txt y:dir/sub -n kit",
        "make dir/x.txt",
        "info -f name,command,dependencies,args kit x.txt",
        "make a a",
        "run :a.txt 'sort a.txt'",
        "run 'cat %a.txt%' -n sugar --request-cpus 2",
        "run k:a.txt k:dir c",
        "run 'date +%Y-%m'",
        "info -f name,command,dependencies,state ^1-2",
        "edit a.txt -n b.txt -T x -f license MIT",
        "edit b.txt -f nosuch 1",
        "edit sugar -f request_memory 12m",
        "info -f request_memory,request_cpus sugar",
        "search b.txt -f name,tags",
        "search nosuchthing",
        "search .mine .count",
        "rm b.txt",
        "rm -i both",
        "rm both/dir",
        "rm both",
        "kill sugar",
        "wait sugar",
    ] {
        terminal.cl(line).await;
    }
    assert_eq!(terminal.read("copy"), "c\nb\na\n");
    assert_eq!(terminal.read("tree/sub/y z"), "yo\n");
    assert_eq!(terminal.read("sub/y z"), "yo\n");
    assert!(!terminal.exists("tree/skip.o"));
    insta::assert_snapshot!(terminal.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_mistakes_on_the_command_line() {
    let mut terminal = Terminal::start().await;
    for line in [
        "status",
        "logout",
        "logout",
        "status",
        "cat",
        "cat --nope x",
        "nosuch",
        "info",
        "run --request-cpus two c",
        "upload --t x",
        "config cli/verbose",
        "config cli/verbose 2",
        "config a/b true",
        "config a",
        "config a -r",
        "config a",
        "alias here http://127.0.0.1:9",
        "alias here",
        "alias here -r",
        "alias here -r",
        "alias here",
    ] {
        terminal.cl(line).await;
    }
    terminal.set("CODALAB_PASSWORD", "wrong");
    terminal.cl("status").await;
    terminal.cl("logout").await;
    terminal.cl("status").await;
    insta::assert_snapshot!(terminal.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_server_no_longer_knows_is_replaced() {
    let mut terminal = Terminal::start().await;
    terminal.cl("work").await;
    terminal.spoil_token();
    terminal.cl("work").await;
    insta::assert_snapshot!(terminal.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_answer_nonsense_are_told_about() {
    for (answer, message) in [
        ("", "ConnectionError: cannot reach"),
        ("garbage\r\n\r\n", "ConnectionError: cannot reach"),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p/>",
            "ServerError:",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n[{]}",
            "ServerError:",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
            "ConnectionError:",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"data\": 5}",
            "ServerError:",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "ConnectionError: cannot reach http://127.0.0.1:1: Connection refused",
        ),
        ("HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n", "ServerError:"),
        (
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\n<hr/>",
            "ServerError: 502 Bad Gateway: <hr/>",
        ),
    ] {
        let mut terminal = Terminal::with_answers(answer).await;
        terminal.cl("status").await;
        let transcript = terminal.transcript();
        assert!(
            transcript.contains(message) && transcript.ends_with("(exit 1)\n"),
            "{answer:?}: {transcript}"
        );
    }
}

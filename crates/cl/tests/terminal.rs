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
async fn people_share_through_groups_and_permissions() {
    let mut terminal = Terminal::with_people(&["juno", "codalab"]).await;
    for line in [
        "gls",
        "gnew rowers",
        "gnew rowers",
        "gnew 'bad name'",
        "uadd juno rowers",
        "uadd juno rowers -a",
        "uadd mira rowers",
        "uadd nobody rowers",
        "uadd juno nogroup",
        "ginfo rowers",
        "gls",
        "ginfo public",
        "upload -c secret -n data",
        "upload -c open -n other",
        "perm data other public n",
        "perm data rowers read",
        "perm data rowers write",
        "perm data/x rowers read",
        "perm ^1-2 rowers r",
        "new ours",
        "wperm ours rowers a",
        "wperm nosuch rowers a",
        "info -v data",
        "chown juno other",
        "open data nosuch",
        "open ^2-1",
        "wopen ours",
        "wopen 0x00000000000000000000000000000000",
    ] {
        terminal.cl(line).await;
    }
    terminal.log_in_as("juno");
    for line in [
        "gls",
        "cat home-mira//data",
        "edit 0x00 -n x",
        "add text hello --dest-worksheet ours",
        "chown juno home-mira//data",
        "urm mira rowers",
        "urm codalab rowers",
        "urm juno rowers",
        "urm juno rowers",
    ] {
        terminal.cl(line).await;
    }
    terminal.log_in_as("codalab");
    for line in [
        "chown juno home-mira//other",
        "grm rowers",
        "grm rowers",
        "grm public",
        "gls",
    ] {
        terminal.cl(line).await;
    }
    insta::assert_snapshot!(terminal.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_shown_changed_found_and_deleted() {
    let mut terminal = Terminal::with_people(&["juno", "codalab"]).await;
    for line in [
        "uinfo",
        "uinfo -f user_name,disk_used,time",
        "uinfo -f nosuch",
        "uinfo juno",
        "uinfo nobody",
        "uedit",
        "uedit --first-name Mira --affiliation 'Lake Lab' --url https://example.org/mira",
        "uedit juno --first-name No",
        "uedit -d 10mb",
        "uedit --grant-access --remove-access",
        "uls",
        "uls mira -f user_name,first_name,nosuch",
        "uls .active_after=2020-01-01",
        "uls nosuchperson",
        "store add -n attic --storage-type disk",
        "store ls",
        "store",
    ] {
        terminal.cl(line).await;
    }
    terminal.log_in_as("codalab");
    for line in [
        "uedit juno -t 10d -d 5g -p 7",
        "uinfo juno -f parallel_run_quota,disk_quota,time_quota",
        "uedit juno --grant-access",
        "uls .count",
        "uls user_name=juno -f user_name,disk,time,parallel_run_quota",
        "ufarewell juno",
        "ufarewell juno",
        "uinfo juno",
        "store add -n attic --storage-type disk",
        "store add -n attic --storage-type disk",
        "store add --url gs://bucket --storage-type disk -n x",
        "store ls",
        "upload -c x -n stored --store attic",
        "store rm",
        "store rm 0x00",
    ] {
        terminal.cl(line).await;
    }
    insta::assert_snapshot!(terminal.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_are_made_again_by_analogy() {
    let mut terminal = Terminal::start().await;
    for line in [
        "upload -c b -n old.txt",
        "upload -c a -n new.txt",
        "add text '# Sorting' 'The first step:'",
        "run :old.txt 'sort old.txt' -n sorted -d sorts --tags step --request-memory 1g",
        "add text '' 'The second:'",
        "run in:sorted 'uniq -c in' -n counted",
        "make first:sorted second:counted third:old.txt -n kit",
        "mimic old.txt new.txt -i",
        "mimic old.txt new.txt -n v2",
        "info -f name,command,dependencies,request_memory,tags ^1-3",
        "mimic old.txt new.txt -n v2 -m",
        "ls -f name,bundle_type,dependencies",
        "print -r",
        "mimic sorted",
        "mimic old.txt counted new.txt -n again --request-memory 3g",
        "info -f name,request_memory ^1-2",
        "mimic old.txt",
        "mimic new.txt nosuch",
        "mimic home-mira/old.txt home-mira/new.txt --depth 0",
        "mimic old.txt new.txt --depth -1",
        "mimic sorted -s -n shadow",
        "ls -f name",
        "rerun counted",
        "rerun counted kit --tags again",
        "rerun old.txt",
        "info -f args,name,tags ^1-3",
        "upload -c in -n m-in1",
        "upload -c key -n m-in-key",
        "run a:m-in1 k:m-in-key 'cat a k' -n m-out",
        "macro m new.txt key:old.txt",
        "info -f name,dependencies ^",
        "macro m new.txt key:old.txt -n named",
        "macro nosuch new.txt",
    ] {
        terminal.cl(line).await;
    }
    insta::assert_snapshot!(terminal.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_worksheets_is_taken_off_and_worksheets_are_deleted() {
    let mut terminal = Terminal::start().await;
    for line in [
        "new rivers",
        "work rivers",
        "upload -c a -n A",
        "upload -c b -n B",
        "add bundle A B",
        "add text 'between'",
        "detach A",
        "detach A -n 3",
        "detach B -n 2",
        "ls -f name",
        "detach B",
        "detach A -n 2",
        "detach A nosuch",
        "detach A",
        "ls -u",
        "detach home-mira//nosuch",
        "print -r",
        "wrm rivers",
        "wrm nosuch",
        "wrm rivers --force",
        "work",
        "new one",
        "new two",
        "wrm one two",
        "wls .mine",
    ] {
        terminal.cl(line).await;
    }
    insta::assert_snapshot!(terminal.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_have_not_begun_take_no_input() {
    let mut terminal = Terminal::start().await;
    for line in [
        "run 'sleep 9' -n nap",
        "write nap/stop now",
        "write nap/a/b now",
        "write 'file with space' x",
        "netcat nap 5005 hello",
        "netcat nap 0 hello",
        "netcat nap 5005",
        "netcat nap port hello",
        "logs nap",
        "kill nap",
        "logs -f nap",
        "info -f state,actions nap",
        "kill nap",
        "mount nap --mountpoint /tmp",
        "events",
        "reset",
        "bs-ls-partitions",
    ] {
        terminal.cl(line).await;
    }
    insta::assert_snapshot!(terminal.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_read_json() {
    let mut terminal = Terminal::start().await;
    terminal.cl("upload -c 'alpha = 0.3' -n params --tags a b").await;
    for line in [
        "ls --json",
        "ls --json -f uuid,name,tags,data_size,owner,summary,nosuch",
        "search name=params --json -f name,state",
        "search nosuchthing --json",
        "info params --json",
        "info params --json -f name,state,/",
        "wls .mine --json",
        "gls --json",
        "ginfo public --json",
        "uinfo --json -f user_name,disk_used,time",
        "uls mira --json -f user_name",
        "store ls --json",
        "workers --json",
    ] {
        terminal.cl(line).await;
    }
    insta::assert_snapshot!(terminal.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_completed_from_the_server() {
    let mut terminal = Terminal::start().await;
    terminal.write("dir/sub/x.txt", "x");
    terminal.write("dir/stdout", "x");
    for line in [
        "new rivers",
        "gnew rowers",
        "upload -c 'alpha = 0.3' -n params",
        "upload -c x -n parity",
        "upload dir",
        "new other",
        "upload -c y -n elsewhere -w other",
        "__complete -- cat par",
        "__complete -- cat dir/",
        "__complete -- cat dir/su",
        "__complete -- cat dir/sub/",
        "__complete -- run in:par",
        "__complete -- make other//el",
        "__complete -- ls -w riv",
        "__complete -- work ''",
        "__complete -- cat -w other ''",
        "__complete -- perm par",
        "__complete -- ginfo ro",
        "__complete --line 'cl run in:par'",
        "__complete --line 'cl cat \"dir/s'",
        "completion tcsh",
    ] {
        terminal.cl(line).await;
    }
    insta::assert_snapshot!(terminal.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_web_terminal_has_the_same_commands_without_a_machine() {
    let mut terminal = Terminal::with_people(&["juno"]).await;
    let long = (0..300).map(|number| number.to_string()).collect::<Vec<_>>().join("\n");
    terminal.write("long.txt", &(long + "\n"));
    terminal.cl("upload long.txt").await;
    terminal.cl("new pilot").await;
    for line in [
        "help nosuch",
        "cat --help",
        "status",
        "cl ls",
        "ls --nope",
        "new second",
        "work pilot",
        "wls pilot",
        "wedit",
        "wedit -t Title",
        "info long.txt",
        "info -f name,state long.txt",
        "search name=long.txt -u",
        "cat long.txt",
        "open long.txt",
        "wopen pilot",
        "upload -c 'some text' -n text",
        "upload /etc/passwd",
        "upload etc --link",
        "edit text",
        "edit text -T a b",
        "print",
        "download text",
        "wait text",
        "alias",
        "config cli/verbose",
        "logout",
        "bs-ls-partitions",
        "netcat text 5005 -f /etc/passwd",
        "cat other::text",
        "work other::",
        "run -W 'echo'",
        "run -e 'echo'",
        "gls",
        "perm text public n",
        "info nothing-here",
        "wrm pilot",
    ] {
        terminal.web("", line).await;
    }
    for line in [
        "run '-a 12' --name=x '--description=a b' --request-network text:home-mira//text 'cat text' --exclude-patterns p q",
        "info -f name,description,command,dependencies,exclude_patterns ^",
        "logs ^",
        "kill ^",
        "detach x",
        "ls -u",
        "wrm . --force",
    ] {
        terminal.web("second", line).await;
    }
    for line in ["cl wor", "upload ", "cat lo", "cat lo ", "config ", "work "] {
        terminal.web_completion(line).await;
    }
    terminal.log_in_as("juno");
    for line in [
        "cat home-mira//text",
        "rm home-mira//text",
        "uedit mira --first-name No",
    ] {
        terminal.web("", line).await;
    }
    insta::assert_snapshot!(terminal.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_where_the_connection_broke() {
    let mut terminal = Terminal::cut_off_after(50_000).await;
    let text = (0..40_000)
        .map(|number| number.to_string())
        .collect::<Vec<_>>()
        .join("\n");
    terminal.write("long.txt", &text);
    terminal.cl("upload long.txt").await;
    terminal.cl("download long.txt -o copy.txt").await;
    assert!(terminal.transcript().contains("(100.0%)"), "{}", terminal.transcript());
    assert!(terminal.read("copy.txt") == text);
    // Nothing is left beside it.
    let names = std::fs::read_dir(terminal.files()).unwrap();
    assert_eq!(names.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_survives_every_argument() {
    let mut terminal = Terminal::start().await;
    terminal.set("EDITOR", "true");
    let (_, help, _) = terminal.try_words(&["help"]).await;
    let listed = help
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    // These two become other programs.
    let commands = listed.filter(|name| !matches!(*name, "server" | "worker"));
    let long = "a".repeat(20_000);
    let many = vec!["x"; 40];
    let hostile: &[&[&str]] = &[
        &[],
        &[""],
        &["", "", ""],
        &["\0", "\u{1b}[31m", "\u{202e}"],
        &["é\n\t", "日本", "%_%\\"],
        &["../../../etc/passwd", "/", "."],
        &["::", "//", "a::b//c/../d"],
        &["^0", "^99999999999999999999", "^5-1"],
        &["--", "--", "-x"],
        &["0x", "0x0"],
        &[&long],
        &many,
    ];
    let mut tried = 0;
    for command in commands.chain(["open", "wopen", "events", "reset"]) {
        for arguments in hostile {
            let words: Vec<&str> = [command].iter().chain(*arguments).copied().collect();
            let (status, _, err) = terminal.try_words(&words).await;
            assert!(status <= 2, "{words:?}: {status}");
            assert!(status == 0 || !err.is_empty(), "{words:?} fails without a word");
            tried += 1;
        }
        let (status, out, err) = terminal.try_words(&[command, "--no-such-option"]).await;
        assert_eq!((status, out.as_str()), (2, ""), "{command}: {err}");
        let (status, out, _) = terminal.try_words(&[command, "--help"]).await;
        assert!(
            status == 0 && out.starts_with(&format!("usage: cl {command} [-h]")),
            "{command}"
        );
    }
    assert!(tried > 600, "{tried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_of_an_instance_on_this_machine_are_added_listed_and_taken_away() {
    let mut terminal = Terminal::with_answers("").await;
    terminal.cl("config cli/default_address http://localhost:9").await;
    terminal.set("CODALAB_SESSION", "local");
    for line in [
        "bs-ls-partitions",
        "bs-add-partition default /DISKS/one",
        "bs-add-partition default /DISKS/two",
        "bs-add-partition ../x /DISKS/two",
        "bs-rm-partition default",
        "bs-add-partition big /DISKS/two",
        "bs-ls-partitions",
        "bs-rm-partition nosuch",
        "bs-rm-partition default",
        "bs-ls-partitions",
        "bs-health-check",
        "events",
        "reset",
        "reset --commit",
    ] {
        let line = line.replace("/DISKS", terminal.files().to_str().unwrap());
        terminal.cl(&line).await;
    }
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

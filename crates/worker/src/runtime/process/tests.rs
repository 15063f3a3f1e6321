//! Real processes on the machine that runs the tests.

use super::*;

struct Setting {
    _directory: tempfile::TempDir,
    work: PathBuf,
}

impl Setting {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let work = directory.path().canonicalize().unwrap();
        Self {
            _directory: directory,
            work,
        }
    }

    fn runtime(&self) -> ProcessRuntime {
        ProcessRuntime::new(&self.work).unwrap()
    }

    fn job(&self, command: &str) -> Job {
        let directory = self.work.join("run");
        fs::create_dir_all(&directory).unwrap();
        Job {
            uuid: format!("0x{:032x}", std::process::id()),
            attempt: "a1".into(),
            command: command.into(),
            image: String::new(),
            directory,
            mounts: Vec::new(),
            memory: 64 << 20,
            cpus: vec![],
            gpus: Vec::new(),
            network: true,
            shared_memory: 1 << 20,
        }
    }
}

async fn finish(runtime: &ProcessRuntime, handle: &str) -> Exit {
    tokio::time::timeout(Duration::from_secs(30), runtime.wait(handle))
        .await
        .expect("ends in time")
        .unwrap()
}

#[tokio::test]
async fn exit_codes_and_both_streams_are_kept() {
    for (command, code) in [
        ("true", 0),
        ("exit 7", 7),
        ("no-such-command-x", 127),
        ("kill -9 $BASHPID", 137),
    ] {
        let setting = Setting::new();
        let runtime = setting.runtime();
        let job = setting.job(&format!("echo out; echo err >&2; {command}"));
        let handle = runtime.start(&job).await.unwrap();
        let exit = finish(&runtime, &handle).await;
        assert_eq!(exit.code, Some(code), "{command}: {exit:?}");
        assert_eq!(fs::read_to_string(job.directory.join("stdout")).unwrap(), "out\n");
        assert!(
            fs::read_to_string(job.directory.join("stderr"))
                .unwrap()
                .starts_with("err\n")
        );
        assert!(exit.user_seconds.is_some() && exit.wall_seconds.is_some());
        runtime.remove(&handle).await.unwrap();
        assert!(!runtime.control(&handle).exists());
    }
}

#[tokio::test]
async fn a_second_start_of_the_same_attempt_finds_the_first() {
    let setting = Setting::new();
    let job = setting.job("echo x >>count; sleep 0.2");
    let first = setting.runtime();
    let handle = first.start(&job).await.unwrap();
    // As after a restart of the worker.
    let second = setting.runtime();
    assert_eq!(second.start(&job).await.unwrap(), handle);
    // As when the first worker died before it knew about the job.
    let ((), ()) = tokio::join!(
        async {
            second.spawn(&job, &handle).await.unwrap();
        },
        async {
            first.spawn(&job, &handle).await.unwrap();
        }
    );
    assert_eq!(finish(&second, &handle).await.code, Some(0));
    assert_eq!(finish(&first, &handle).await.code, Some(0));
    assert_eq!(fs::read_to_string(job.directory.join("count")).unwrap(), "x\n");
}

#[tokio::test]
async fn killing_ends_everything_the_job_started() {
    let setting = Setting::new();
    let runtime = setting.runtime();
    let job = setting.job("sleep 300 & (setsid sleep 300 &) ; echo ready >mark; sleep 300");
    let handle = runtime.start(&job).await.unwrap();
    let mark = job.directory.join("mark");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !mark.exists() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    runtime.kill(&handle).await.unwrap();
    assert_eq!(finish(&runtime, &handle).await.code, Some(137));
    let supervisor = read_pid(&runtime.control(&handle)).unwrap();
    assert_eq!(tree::members(supervisor), Vec::<i32>::new());
    assert_eq!(runtime.cgroups.find(&handle).members(), Vec::<i32>::new());
    runtime.remove(&handle).await.unwrap();
}

#[tokio::test]
async fn the_job_sees_its_directory_as_home_and_no_secrets() {
    let setting = Setting::new();
    let runtime = setting.runtime();
    let job =
        setting.job("pwd; echo $HOME; echo $CODALAB; env | grep -c PASSWORD; touch /tmp/here && echo tmp; exit 0");
    let handle = runtime.start(&job).await.unwrap();
    assert_eq!(finish(&runtime, &handle).await.code, Some(0));
    let directory = job.directory.display();
    let expected = format!("{directory}\n{directory}\ntrue\n0\ntmp\n");
    assert_eq!(fs::read_to_string(job.directory.join("stdout")).unwrap(), expected);
}

#[tokio::test]
async fn host_files_are_read_only_where_namespaces_are_permitted() {
    let setting = Setting::new();
    let runtime = setting.runtime();
    let outside = setting.work.join("outside");
    fs::write(&outside, "kept").unwrap();
    let job = setting.job(&format!("echo changed >{}", outside.display()));
    let handle = runtime.start(&job).await.unwrap();
    let exit = finish(&runtime, &handle).await;
    let fenced = runtime.sandbox.describe().starts_with("own");
    assert_eq!(exit.code != Some(0), fenced, "{exit:?}");
    assert_eq!(fs::read_to_string(&outside).unwrap() == "kept", fenced);
}

#[tokio::test]
async fn a_job_over_its_memory_is_noticed() {
    let setting = Setting::new();
    let runtime = setting.runtime();
    // Holds about 256 MB in one process.
    let job = setting.job("head -c 256000000 /dev/zero | tail -c 256000000 >/dev/null; exit 3");
    let handle = runtime.start(&job).await.unwrap();
    let (usage, mut seen) = watch::channel(Usage::default());
    let exit = tokio::select! {
        exit = finish(&runtime, &handle) => exit,
        () = runtime.measure(&handle, &usage) => unreachable!("measures until dropped"),
    };
    let over = exit.out_of_memory == Some(true) || seen.borrow_and_update().memory_max > job.memory;
    assert!(over, "{exit:?} {:?}", seen.borrow());
}

#[test]
fn an_incomplete_exit_file_counts_as_none() {
    let full = "3\n0m0.001s 0m0.002s\n1m2.500s 0m0,250s\nend\n";
    let exit = parse_exit(full).unwrap();
    assert_eq!(
        (exit.code, exit.user_seconds, exit.system_seconds),
        (Some(3), Some(62.5), Some(0.25))
    );
    for cut in 0..full.len() - 1 {
        assert_eq!(parse_exit(&full[..cut]), None, "{cut}");
    }
}

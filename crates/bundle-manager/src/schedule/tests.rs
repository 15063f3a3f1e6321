//! Tables of cases for order, filter, ranking, quotas and texts, and properties that hold for any snapshot.

use proptest::prelude::*;

use super::*;

const GIB: i64 = 1 << 30;
const ROOT: &str = "0";

fn uuid(n: u8) -> Uuid {
    Uuid::from_random([n; 16])
}

fn worker(owner: &str, id: &str) -> Worker {
    Worker {
        key: WorkerKey {
            user_id: owner.into(),
            worker_id: id.into(),
        },
        group: None,
        tag: None,
        tag_exclusive: false,
        cpus: 4,
        gpus: 0,
        memory: 16 * GIB,
        free_disk: 100 * GIB,
        runs_left: 999_999_999,
        is_terminating: false,
        shared_file_system: false,
        own_bundles_only: false,
        runs: vec![],
        cached: HashSet::new(),
    }
}

fn tagged(tag: &str, tag_exclusive: bool, worker: Worker) -> Worker {
    Worker {
        tag: Some(tag.into()),
        tag_exclusive,
        ..worker
    }
}

fn without_containers(worker: Worker) -> Worker {
    Worker {
        own_bundles_only: true,
        ..worker
    }
}

fn with_gpus(gpus: i64, worker: Worker) -> Worker {
    Worker { gpus, ..worker }
}

fn holding(owner: &str, held: Held) -> HeldRun {
    HeldRun {
        owner: owner.into(),
        held,
        disk_used: 0,
    }
}

fn run(id: i64, owner: &str) -> StagedRun {
    StagedRun {
        id,
        uuid: uuid(id as u8),
        owner: owner.into(),
        fields: RequestFields {
            memory: "1g".into(),
            ..RequestFields::default()
        },
        dependencies: vec![],
        refused_owners: HashSet::new(),
    }
}

fn asking(cpus: i64, gpus: i64, queue: &str, run: StagedRun) -> StagedRun {
    StagedRun {
        fields: RequestFields {
            cpus,
            gpus,
            queue: queue.into(),
            ..run.fields.clone()
        },
        ..run
    }
}

fn user(parallel_run_quota: i64, groups: &[Uuid]) -> User {
    User {
        left: QuotaLeft {
            disk: 1000 * GIB,
            time: 1e9,
        },
        parallel_run_quota,
        groups: groups.iter().copied().collect(),
    }
}

struct Scene {
    queue: Vec<StagedRun>,
    workers: Vec<Worker>,
    users: HashMap<UserId, User>,
    prefer_private: bool,
    seed: u64,
}

impl Scene {
    fn new(queue: Vec<StagedRun>, workers: Vec<Worker>) -> Self {
        let users = queue.iter().map(|run| (run.owner.clone(), user(100, &[]))).collect();
        Self {
            queue,
            workers,
            users,
            prefer_private: true,
            seed: 1,
        }
    }

    fn decisions(&self) -> Vec<Decision> {
        let limits = WorkerLimits::default();
        schedule(&Snapshot {
            queue: self.queue.iter().collect(),
            workers: &self.workers,
            users: &self.users,
            limits: &limits,
            root: &ROOT.into(),
            prefer_private: self.prefer_private,
            seed: self.seed,
        })
    }

    /// (index of the run from 1, worker id) of each assignment.
    fn assignments(&self) -> Vec<(i64, String)> {
        let id = |wanted: &Uuid| self.queue.iter().find(|run| run.uuid == *wanted).unwrap().id;
        self.decisions()
            .iter()
            .filter_map(|decision| match decision {
                Decision::Assign { uuid, worker, .. } => Some((id(uuid), worker.worker_id.to_string())),
                _ => None,
            })
            .collect()
    }

    fn chosen(&self) -> Option<String> {
        self.assignments().into_iter().next().map(|(_, worker)| worker)
    }

    fn status(&self) -> String {
        match self.decisions().as_slice() {
            [Decision::Wait { status, .. }] => status.strip_prefix(NO_WORKER).unwrap().trim().to_owned(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn nothing_to_do_is_no_failure() {
    assert_eq!(Scene::new(vec![], vec![]).decisions(), []);
    assert_eq!(Scene::new(vec![], vec![worker(ROOT, "w")]).decisions(), []);
    assert_eq!(Scene::new(vec![run(1, "7")], vec![]).status(), "");
}

#[test]
fn users_keep_their_places_and_priorities_reorder_their_own_runs() {
    let owners = ["A", "B", "A", "A", "B"];
    let priorities = [0, 0, 5, -1, 2];
    let queue: Vec<StagedRun> = (1..)
        .zip(owners.iter().zip(priorities))
        .map(|(id, (owner, priority))| {
            let mut run = run(id, owner);
            run.fields.priority = priority;
            run
        })
        .collect();
    let order = |queue: &[StagedRun]| -> Vec<i64> {
        order::start_order(&queue.iter().collect::<Vec<_>>())
            .iter()
            .map(|run| run.id)
            .collect()
    };
    assert_eq!(order(&queue), [3, 5, 1, 4, 2]);
    let queue = [run(1, "A"), asking(1, 0, "q", run(2, "A")), run(3, "A")];
    assert_eq!(order(&queue), [2, 1, 3], "among equals a named queue goes first");
}

#[test]
fn a_run_with_no_memory_and_no_time_starts_on_a_worker_without_memory_and_disk() {
    let mut staged = asking(1, 0, "", run(1, "7"));
    staged.fields.memory = "0".into();
    let tiny = Worker {
        cpus: 1,
        memory: 0,
        free_disk: 0,
        ..worker("7", "w")
    };
    assert_eq!(Scene::new(vec![staged], vec![tiny]).chosen().unwrap(), "w");
}

#[test]
fn only_a_worker_that_can_take_the_run_gets_it() {
    let group = uuid(200);
    let cases: [(&str, StagedRun, Worker, bool); 19] = [
        ("own worker", run(1, "7"), worker("7", "w"), true),
        ("public worker", run(1, "7"), worker(ROOT, "w"), true),
        ("somebody else's worker", run(1, "7"), worker("8", "w"), false),
        (
            "group worker",
            run(1, "7"),
            Worker {
                group: Some(group),
                ..worker("8", "w")
            },
            true,
        ),
        (
            "worker of another group",
            run(1, "7"),
            Worker {
                group: Some(uuid(201)),
                ..worker("8", "w")
            },
            false,
        ),
        (
            "terminating",
            run(1, "7"),
            Worker {
                is_terminating: true,
                ..worker("7", "w")
            },
            false,
        ),
        (
            "no runs left",
            run(1, "7"),
            Worker {
                runs_left: 0,
                ..worker("7", "w")
            },
            false,
        ),
        ("too few CPUs", asking(5, 0, "", run(1, "7")), worker("7", "w"), false),
        (
            "exactly enough CPUs",
            asking(4, 0, "", run(1, "7")),
            worker("7", "w"),
            true,
        ),
        (
            "GPUs it has not",
            asking(1, 1, "", run(1, "7")),
            worker("7", "w"),
            false,
        ),
        (
            "GPUs that are taken",
            asking(1, 1, "", run(1, "7")),
            Worker {
                runs: vec![holding(
                    "7",
                    Held {
                        gpus: 1,
                        ..Held::default()
                    },
                )],
                ..with_gpus(1, worker("7", "w"))
            },
            false,
        ),
        (
            "queue by tag",
            asking(1, 0, "lab7", run(1, "7")),
            tagged("lab7", false, worker("7", "w")),
            true,
        ),
        (
            "queue by tag=",
            asking(1, 0, "tag=lab7", run(1, "7")),
            tagged("lab7", true, worker("7", "w")),
            true,
        ),
        (
            "nothing after tag=",
            asking(1, 0, "tag=", run(1, "7")),
            tagged("lab7", true, worker("7", "w")),
            false,
        ),
        (
            "unknown tag",
            asking(1, 0, "lab8", run(1, "7")),
            worker("7", "w"),
            false,
        ),
        (
            "exclusive worker without request",
            run(1, "7"),
            tagged("lab7", true, worker("7", "w")),
            false,
        ),
        (
            "tagged worker without request",
            run(1, "7"),
            tagged("lab7", false, worker("7", "w")),
            true,
        ),
        (
            "worker without containers of the owner",
            run(1, "7"),
            without_containers(worker("7", "w")),
            true,
        ),
        (
            "worker without containers of root",
            run(1, "7"),
            without_containers(worker(ROOT, "w")),
            false,
        ),
    ];
    for (what, run, worker, fits) in cases {
        let mut scene = Scene::new(vec![run], vec![worker]);
        scene.users.insert("7".into(), user(100, &[group]));
        assert_eq!(scene.chosen().is_some(), fits, "{what}");
    }
}

#[test]
fn an_owner_without_rights_on_the_bundle_does_not_get_it() {
    let group = uuid(200);
    let refused = StagedRun {
        refused_owners: HashSet::from(["8".into()]),
        ..run(1, "7")
    };
    let mut scene = Scene::new(
        vec![refused],
        vec![Worker {
            group: Some(group),
            ..worker("8", "w")
        }],
    );
    scene.users.insert("7".into(), user(100, &[group]));
    assert_eq!(scene.chosen(), None);
    scene.workers.push(worker("7", "own"));
    assert_eq!(scene.chosen().unwrap(), "own");
}

#[test]
fn the_best_suited_worker_is_chosen() {
    let dependency = (uuid(50), "src".to_owned());
    let cached = |worker: Worker| Worker {
        cached: HashSet::from([dependency.clone()]),
        ..worker
    };
    let busy = |worker: Worker| Worker {
        cpus: 5,
        runs: vec![holding(
            "9",
            Held {
                cpus: 1,
                ..Held::default()
            },
        )],
        ..worker
    };
    let depending = |run: StagedRun| StagedRun {
        dependencies: vec![dependency.clone()],
        ..run
    };
    let w = |id| worker("7", id);
    let exhausted = Worker {
        runs: vec![holding(
            "7",
            Held {
                gpus: 2,
                ..Held::default()
            },
        )],
        ..with_gpus(2, w("b"))
    };
    let cases: [(&str, StagedRun, [Worker; 2]); 11] = [
        ("no GPUs before GPUs", run(1, "7"), [w("a"), with_gpus(1, w("b"))]),
        (
            "few GPUs before many",
            run(1, "7"),
            [with_gpus(2, w("a")), with_gpus(8, w("b"))],
        ),
        ("no GPUs before none free", run(1, "7"), [w("a"), exhausted]),
        (
            "fewer free GPUs first",
            asking(1, 1, "", run(1, "7")),
            [with_gpus(2, w("a")), with_gpus(4, w("b"))],
        ),
        (
            "exclusive before shared",
            asking(1, 0, "t", run(1, "7")),
            [tagged("t", true, with_gpus(8, w("a"))), tagged("t", false, w("b"))],
        ),
        (
            "private before public",
            run(1, "7"),
            [with_gpus(8, w("a")), worker(ROOT, "b")],
        ),
        (
            "cached dependency first",
            depending(run(1, "7")),
            [cached(Worker { cpus: 64, ..w("a") }), w("b")],
        ),
        (
            "shared file system has all",
            depending(run(1, "7")),
            [
                Worker {
                    shared_file_system: true,
                    cpus: 64,
                    ..w("a")
                },
                w("b"),
            ],
        ),
        ("best fit by CPUs", run(1, "7"), [Worker { cpus: 2, ..w("a") }, w("b")]),
        ("fewer runs first", run(1, "7"), [w("a"), busy(w("b"))]),
        (
            "GPUs weigh more than the cache",
            depending(run(1, "7")),
            [w("a"), cached(with_gpus(1, w("b")))],
        ),
    ];
    for (what, run, workers) in cases {
        let mut scene = Scene::new(vec![run], workers.to_vec());
        assert_eq!(scene.chosen().unwrap(), "a", "{what}");
        scene.workers.reverse();
        assert_eq!(scene.chosen().unwrap(), "a", "{what}, workers the other way round");
    }
    let mut scene = Scene::new(
        vec![run(1, "7")],
        vec![Worker { cpus: 64, ..w("a") }, worker(ROOT, "b")],
    );
    scene.prefer_private = false;
    assert_eq!(scene.chosen().unwrap(), "b", "without preference the better fit wins");
}

#[test]
fn equal_workers_are_chosen_by_the_seed_and_both_get_their_turn() {
    let mut scene = Scene::new(vec![run(1, "7")], vec![worker("7", "a"), worker("7", "b")]);
    let mut seen = HashSet::new();
    for seed in 0..64 {
        scene.seed = seed;
        assert_eq!(scene.chosen(), scene.chosen());
        seen.extend(scene.chosen());
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_pass_hands_out_each_resource_once() {
    let queue = (1..=6).map(|id| run(id, "7")).collect();
    let scene = Scene::new(
        queue,
        vec![
            Worker {
                runs_left: 2,
                ..worker("7", "a")
            },
            Worker {
                cpus: 3,
                ..worker("7", "b")
            },
        ],
    );
    let assigned = scene.assignments();
    let count = |id: &str| assigned.iter().filter(|(_, worker)| worker == id).count();
    assert_eq!((assigned.len(), count("a"), count("b")), (5, 2, 3));
}

#[test]
fn disk_that_a_run_may_still_write_is_reserved() {
    let written = |disk_used| HeldRun {
        disk_used,
        ..holding(
            "7",
            Held {
                disk: 60 * GIB,
                ..Held::default()
            },
        )
    };
    let mut staged = run(1, "7");
    staged.fields.disk = "50g".into();
    let scene = |disk_used| {
        Scene::new(
            vec![staged.clone()],
            vec![Worker {
                runs: vec![written(disk_used)],
                ..worker("7", "w")
            }],
        )
    };
    assert_eq!(scene(0).chosen(), None);
    assert_eq!(scene(20 * GIB).chosen().unwrap(), "w");
}

#[test]
fn the_parallel_run_quota_counts_public_workers_only() {
    let occupied = |owner: &str, id: &str| Worker {
        runs: vec![holding("7", Held::default())],
        ..worker(owner, id)
    };
    let cases = [
        ("within quota", vec![occupied(ROOT, "p")], 2, 1),
        ("used up", vec![occupied(ROOT, "p")], 1, 0),
        (
            "own runs do not count",
            vec![occupied("7", "o"), worker(ROOT, "p")],
            1,
            3,
        ),
        ("no quota at all, own worker", vec![worker("7", "o")], 0, 3),
        ("shrinks within the pass", vec![worker(ROOT, "p")], 2, 2),
    ];
    for (what, mut workers, quota, expected) in cases {
        workers
            .iter_mut()
            .filter(|worker| worker.key.user_id == *"7")
            .for_each(|worker| worker.cpus = 3);
        let queue = vec![run(1, "7"), run(2, "7"), run(3, "7")];
        let mut scene = Scene::new(queue, workers);
        scene.users.insert("7".into(), user(quota, &[]));
        assert_eq!(scene.assignments().len(), expected, "{what}");
    }
    let mut scene = Scene::new(vec![run(1, ROOT)], vec![occupied(ROOT, "p")]);
    scene.users.insert(ROOT.into(), user(1, &[]));
    assert_eq!(
        scene.assignments().len(),
        1,
        "root's runs on root's workers are at home"
    );
}

#[test]
fn what_is_missing_is_listed_for_workers_that_no_other_dominates() {
    let mut big = asking(16, 4, "bigmem", run(1, "7"));
    big.fields.memory = "8g".into();
    let small = Worker {
        cpus: 64,
        gpus: 8,
        memory: 3 * GIB / 2,
        ..worker("7", "a")
    };
    let few = tagged(
        "bigmem",
        false,
        Worker {
            cpus: 64,
            gpus: 1,
            memory: 64 * GIB,
            ..worker("7", "b")
        },
    );
    let poor = Worker {
        cpus: 1,
        gpus: 0,
        memory: GIB,
        free_disk: GIB,
        ..worker("7", "c")
    };
    let mut scene = Scene::new(vec![big], vec![small, few, poor]);
    let expected =
        "Available resources: [No queue (bigmem requested), 1.5g memory (8g requested)], [1 GPUs (4 requested)]";
    assert_eq!(scene.status(), expected);
    scene.workers = vec![Worker {
        cpus: 8,
        free_disk: 20 * GIB,
        ..worker("7", "a")
    }];
    scene.queue[0] = asking(16, 0, "", run(1, "7"));
    scene.queue[0].fields.disk = "100g".into();
    assert_eq!(
        scene.status(),
        "Available resources: [8 CPUs (16 requested), 20g disk (100g requested)]"
    );
    scene.workers = vec![
        tagged("x", true, worker("7", "a")),
        Worker {
            runs_left: 0,
            ..worker("7", "b")
        },
    ];
    scene.queue[0] = run(1, "7");
    assert_eq!(
        scene.status(),
        "Available resources: [tag-exclusive worker], [no runs left]"
    );
    scene.workers = vec![tagged(
        "x",
        false,
        Worker {
            cpus: 1,
            ..worker("7", "a")
        },
    )];
    scene.queue[0] = asking(2, 0, "tag=x", run(1, "7"));
    assert_eq!(scene.status(), "Available resources: [1 CPUs (2 requested)]");
}

#[test]
fn a_worker_does_not_strictly_dominate_itself() {
    let (a, b) = (worker("7", "a"), worker("7", "b"));
    let scene = Scene::new(vec![asking(9, 0, "", run(1, "7"))], vec![a, b]);
    assert_eq!(
        scene.status(),
        "Available resources: [4 CPUs (9 requested)], [4 CPUs (9 requested)]"
    );
}

#[test]
fn a_run_that_can_never_start_fails_and_the_others_go_on() {
    let mut bad = run(1, "7");
    bad.fields.memory = "lots".into();
    let scene = Scene::new(vec![bad.clone(), run(2, "7")], vec![worker("7", "w")]);
    let decisions = scene.decisions();
    assert!(
        matches!(&decisions[0], Decision::Fail { uuid, message } if *uuid == bad.uuid && message.contains("Invalid size: lots"))
    );
    assert!(matches!(&decisions[1], Decision::Assign { .. }));
}

#[test]
fn a_run_of_an_unknown_owner_is_left_alone() {
    let mut scene = Scene::new(vec![run(1, "7"), run(2, "8")], vec![worker(ROOT, "w")]);
    scene.users.remove("7");
    assert_eq!(scene.assignments(), [(2, "w".to_owned())]);
    assert_eq!(scene.decisions().len(), 1);
}

#[test]
fn ten_thousand_waiting_runs_and_a_thousand_workers_take_milliseconds() {
    let queue: Vec<StagedRun> = (0..10_000)
        .map(|id| asking(99, 0, "", run(id, &format!("{}", id % 20))))
        .collect();
    let workers = (0..1000).map(|n| worker(ROOT, &format!("w{n}"))).collect();
    let scene = Scene::new(queue, workers);
    let start = std::time::Instant::now();
    assert_eq!(scene.decisions().len(), 10_000);
    // Generous: an unoptimised build on a busy machine. O(waiting × workers) would take far longer.
    assert!(
        start.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

prop_compose! {
    fn any_worker()(owner in 0..3u8, cpus in 0..8i64, gpus in 0..3i64, memory in 0..8i64, disk in 0..8i64,
                    tag in proptest::option::of(0..2u8), tag_exclusive: bool, runs_left in 0..4i64, held in 0..3usize,
                    is_terminating in proptest::bool::weighted(0.1)) -> Worker {
        let each = Held { cpus: 1, gpus: 0, memory: GIB, disk: 0 };
        Worker {
            tag: tag.map(|tag| format!("t{tag}")), tag_exclusive, cpus, gpus, memory: memory * GIB,
            free_disk: disk * GIB, runs_left, is_terminating, runs: vec![holding("1", each); held],
            ..worker(&owner.to_string(), "?")
        }
    }
}

prop_compose! {
    fn any_run()(owner in 0..3u8, cpus in 0..6i64, gpus in 0..3i64, memory in 0..6i64, queue in 0..4u8,
                 priority in -2..3i64) -> StagedRun {
        let queue = ["", "t0", "tag=t1", "tag="][usize::from(queue)];
        let mut run = asking(cpus, gpus, queue, run(0, &owner.to_string()));
        run.fields.memory = format!("{memory}g");
        run.fields.priority = priority;
        run
    }
}

proptest! {
    #[test]
    fn no_snapshot_over_assigns_or_loses_a_run(
        mut workers in proptest::collection::vec(any_worker(), 0..6),
        mut queue in proptest::collection::vec(any_run(), 0..20),
        quota in 0..5i64, seed: u64,
    ) {
        workers.iter_mut().enumerate().for_each(|(n, worker)| worker.key.worker_id = format!("w{n}").into());
        queue.iter_mut().enumerate().for_each(|(n, run)| { run.id = n as i64; run.uuid = uuid(n as u8) });
        let mut scene = Scene::new(queue, workers);
        scene.seed = seed;
        scene.users.values_mut().for_each(|user| user.parallel_run_quota = quota);
        let decisions = scene.decisions();

        // One decision for each run.
        let mut decided: Vec<Uuid> = decisions.iter().map(|decision| match decision {
            Decision::Assign { uuid, .. } | Decision::Fail { uuid, .. } | Decision::Wait { uuid, .. } => *uuid,
        }).collect();
        decided.sort_unstable();
        let mut queued: Vec<Uuid> = scene.queue.iter().map(|run| run.uuid).collect();
        queued.sort_unstable();
        prop_assert_eq!(decided, queued);

        // What is handed out was there, and went only to workers that may have it.
        let mut free: HashMap<WorkerKey, Candidate<'_>> =
            scene.workers.iter().map(|worker| (worker.key.clone(), Candidate::new(worker))).collect();
        let mut on_public: HashMap<UserId, i64> = HashMap::new();
        for decision in &decisions {
            let Decision::Assign { uuid, worker, request } = decision else { continue };
            let run = scene.queue.iter().find(|run| run.uuid == *uuid).unwrap();
            let candidate = free.get_mut(worker).unwrap();
            prop_assert!(!candidate.worker.is_terminating);
            prop_assert!(worker.user_id == run.owner || worker.user_id == *ROOT);
            let fits = candidate.fits(request);
            prop_assert!(fits);
            candidate.take(request);
            if worker.user_id != run.owner {
                *on_public.entry(run.owner.clone()).or_default() += 1;
            }
        }
        prop_assert!(on_public.values().all(|&count| count <= quota));

        // A run that waits fits on none of its owner's own workers any more.
        for decision in &decisions {
            let Decision::Wait { uuid, .. } = decision else { continue };
            let run = scene.queue.iter().find(|run| run.uuid == *uuid).unwrap();
            let limits = WorkerLimits::default();
            let request = resolve(&run.fields, scene.users[&run.owner].left, &limits).unwrap();
            let idle = free.values().find(|candidate| {
                !candidate.worker.is_terminating && candidate.worker.key.user_id == run.owner && candidate.fits(&request)
            });
            prop_assert!(idle.is_none());
        }

        // The same snapshot gives the same decisions.
        prop_assert_eq!(scene.decisions(), decisions);
    }
}

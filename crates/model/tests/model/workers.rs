//! Workers, their sockets, messages and the scheduler's lease.

use model::WorkerKey;
use serde_json::json;

use crate::fixture::{NOW, checkin};

on_both! {
    async fn a_check_in_is_remembered_whole(f) {
        let key = WorkerKey { user_id: "ada".into(), worker_id: "lab-42(7)".into() };
        let mut first = checkin();
        first.tag = Some("gpu".into());
        first.dependencies = (0..3000).map(|n| (format!("0x{n:032x}"), "some/path".to_owned())).collect();
        let socket = f.worker_checkin(&key, &first, NOW).await.unwrap();
        let record = f.worker(&key).await.unwrap().unwrap();
        assert_eq!((record.tag.as_deref(), record.cpus, record.checkin_time.unix()), (Some("gpu"), 4, NOW));
        assert_eq!((record.memory_bytes, record.exit_after_num_runs), (8_000_000_000, 999_999_999));
        assert_eq!(record.dependencies, first.dependencies);
        assert_eq!(f.worker_checkin(&key, &checkin(), NOW + 5).await.unwrap(), socket);
        let record = f.worker(&key).await.unwrap().unwrap();
        assert_eq!((record.tag, record.checkin_time.unix(), record.dependencies.len()), (None, NOW + 5, 0));
    }

    async fn a_check_in_that_says_nothing_new_costs_two_statements(f) {
        let key = WorkerKey { user_id: "ada".into(), worker_id: "w".into() };
        let mut said = checkin();
        said.dependencies = vec![("0x00000000000000000000000000000001".to_owned(), String::new())];
        let socket = f.worker_checkin(&key, &said, NOW).await.unwrap();
        said.cpus = 7;
        let before = f.statements().count();
        assert_eq!(f.worker_checkin(&key, &said, NOW + 5).await.unwrap(), socket);
        assert_eq!(f.statements().count() - before, 2);
        let record = f.worker(&key).await.unwrap().unwrap();
        assert_eq!((record.cpus, record.checkin_time.unix(), record.dependencies.len()), (7, NOW + 5, 1));
        // A worker that was removed meanwhile is there again.
        f.remove_worker(&key, NOW + 6).await.unwrap();
        f.worker_checkin(&key, &said, NOW + 7).await.unwrap();
        assert_eq!(f.worker(&key).await.unwrap().unwrap().dependencies.len(), 1);
    }

    async fn first_check_ins_at_once_make_one_worker(f) {
        let key = WorkerKey { user_id: "ada".into(), worker_id: "w".into() };
        let request = checkin();
        let sockets = futures::future::try_join_all((0..6).map(|_| f.worker_checkin(&key, &request, NOW))).await.unwrap();
        assert!(sockets.iter().all(|socket| *socket == sockets[0]), "{sockets:?}");
        assert_eq!(f.workers().await.unwrap().len(), 1);
    }

    async fn a_group_needs_its_owner_as_member(f) {
        let group = f.create_group("team", "ada").await.unwrap().group;
        let joins = |name: &str| { let mut request = checkin(); request.group_name = Some(name.to_owned()); request };
        for (owner, name, expected) in [
            ("ada", "team", Some(group.uuid)),
            ("bob", "team", None),
            ("bob", "public", Some(f.public_group())),
            ("bob", "nope", None),
            ("0", "team", Some(group.uuid)),
        ] {
            let key = WorkerKey { user_id: owner.into(), worker_id: format!("{owner}-{name}").into() };
            f.worker_checkin(&key, &joins(name), NOW).await.unwrap();
            assert_eq!(f.worker(&key).await.unwrap().unwrap().group_uuid, expected, "{owner} {name}");
        }
        let key = WorkerKey { user_id: "ada".into(), worker_id: "ada-team".into() };
        f.worker_checkin(&key, &joins("unknown"), NOW).await.unwrap();
        assert_eq!(f.worker(&key).await.unwrap().unwrap().group_uuid, Some(group.uuid));
        f.worker_checkin(&key, &checkin(), NOW).await.unwrap();
        assert_eq!(f.worker(&key).await.unwrap().unwrap().group_uuid, None);
    }

    async fn viewers_see_their_own_workers_and_those_of_their_groups(f) {
        f.add_worker("0", "r").await;
        f.add_worker("ada", "a").await;
        let group = f.create_group("team", "ada").await.unwrap().group;
        let mut shared = checkin();
        shared.group_name = Some("team".into());
        f.worker_checkin(&WorkerKey { user_id: "ada".into(), worker_id: "t".into() }, &shared, NOW).await.unwrap();
        let seen = async |viewer: &str| {
            let workers = f.workers_visible_to(viewer).await.unwrap();
            workers.into_iter().map(|worker| worker.key.worker_id.0).collect::<Vec<_>>()
        };
        assert_eq!(seen("0").await, ["r", "a", "t"]);
        assert_eq!(seen("ada").await, ["a", "t"]);
        assert!(seen("bob").await.is_empty());
        f.add_group_members(&group, &["bob"], false).await.unwrap();
        assert_eq!(seen("bob").await, ["t"]);
        f.delete_group(group.uuid).await.unwrap();
        assert!(seen("bob").await.is_empty());
    }

    async fn runs_count_against_their_own_worker_only(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let (one, two) = (f.add_worker("0", "w").await, f.add_worker("bob", "w").await);
        let run = f.add_running("ada", worksheet, "r", &one).await;
        let records = f.workers().await.unwrap();
        let used: Vec<_> = records.iter().map(|w| (w.key.clone(), w.run_uuids.clone(), w.cpus_in_use, w.gpus_in_use)).collect();
        assert_eq!(used, [(one, vec![run], 1, 0), (two.clone(), vec![], 0, 0)]);
        assert_eq!(f.parallel_runs_left("ada").await.unwrap(), 2);
        assert_eq!(f.parallel_runs_left("bob").await.unwrap(), 3);
        f.set_exit_after_num_runs(&two, 2).await.unwrap();
        assert_eq!(f.worker(&two).await.unwrap().unwrap().exit_after_num_runs, 2);
    }

    async fn sockets_belong_to_one_worker(f) {
        let (one, two) = (f.add_worker("0", "w").await, f.add_worker("bob", "w").await);
        let socket = f.allocate_socket(&one).await.unwrap();
        assert!(f.has_socket(&one, socket).await.unwrap());
        assert!(!f.has_socket(&two, socket).await.unwrap());
        f.release_socket(socket).await.unwrap();
        assert!(!f.has_socket(&one, socket).await.unwrap());
        assert!(f.allocate_socket(&one).await.unwrap() > socket);
    }

    async fn messages_wait_in_order_until_they_are_delivered(f) {
        let worker = f.add_worker("0", "w").await;
        let kinds = ["kill", "write", "kill"];
        for (n, kind) in kinds.iter().enumerate() {
            let expires = (n == 1).then_some(NOW + 10);
            f.queue_message(&worker, None, kind, &json!({"type": kind, "text": "é😀"}), NOW, expires).await.unwrap();
        }
        let pending = f.pending_messages(&worker, NOW, 10).await.unwrap();
        assert_eq!(pending.iter().map(|m| m.kind.as_str()).collect::<Vec<_>>(), kinds);
        assert_eq!(pending[0].payload["text"], "é😀");
        assert_eq!(f.pending_messages(&worker, NOW + 10, 10).await.unwrap().len(), 2);
        assert_eq!(f.mark_delivered(&[pending[0].id], NOW).await.unwrap(), 1);
        assert_eq!(f.mark_delivered(&[pending[0].id, pending[2].id], NOW).await.unwrap(), 1);
        assert_eq!(f.purge_messages(NOW, NOW + 10).await.unwrap(), 3);
        assert!(f.pending_messages(&worker, NOW, 10).await.unwrap().is_empty());
    }

    async fn a_run_message_without_effect_goes_out_once_more(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w").await;
        let run = f.add_run("ada", worksheet, "r", &[]).await;
        f.stage(run, NOW).await.unwrap();
        f.assign_run(run, &worker, &json!({"type": "run"}), NOW).await.unwrap();
        assert!(f.redeliver_run_messages(NOW + 99).await.unwrap().is_empty());
        for (again, time) in [(true, NOW), (false, NOW + 30)] {
            let pending = f.pending_messages(&worker, NOW, 10).await.unwrap();
            assert_eq!(pending.len(), 1);
            f.mark_delivered(&[pending[0].id], time).await.unwrap();
            assert_eq!(!f.redeliver_run_messages(time).await.unwrap().is_empty(), again);
        }
        assert!(f.unassign_run(run, NOW).await.unwrap());
        assert!(f.pending_messages(&worker, NOW, 10).await.unwrap().is_empty());
    }

    async fn one_holder_has_a_lease_until_it_runs_out(f) {
        assert!(f.acquire_lease("scheduler", "a", 10, NOW).await.unwrap());
        assert!(f.acquire_lease("scheduler", "a", 10, NOW + 3).await.unwrap());
        assert!(!f.acquire_lease("scheduler", "b", 10, NOW + 12).await.unwrap());
        assert_eq!(f.lease_holder("scheduler", NOW + 12).await.unwrap().as_deref(), Some("a"));
        assert_eq!(f.lease_holder("scheduler", NOW + 13).await.unwrap(), None);
        assert_eq!(f.lease_holder("nothing", NOW).await.unwrap(), None);
        assert!(f.acquire_lease("scheduler", "b", 10, NOW + 13).await.unwrap());
        f.release_lease("scheduler", "a").await.unwrap();
        assert!(!f.acquire_lease("scheduler", "a", 10, NOW + 14).await.unwrap());
        f.release_lease("scheduler", "b").await.unwrap();
        assert!(f.acquire_lease("scheduler", "a", 10, NOW + 14).await.unwrap());
        let winners = futures::future::try_join_all(["x", "y", "z"].map(|who| f.acquire_lease("other", who, 10, NOW))).await.unwrap();
        assert_eq!(winners.iter().filter(|won| **won).count(), 1);
    }
}

//! State transitions, reports of workers, and what they charge.

use domain::{BundleState as S, Metadata};
use model::{KillOutcome, MakeOutcome, ReportOutcome, UserUpdate};
use serde_json::json;

use crate::fixture::{NOW, checkin, contents, dataset, fresh_uuid, make, refused, report, run, start};

on_both! {
    async fn a_run_passes_through_its_states_and_ends_ready(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w1").await;
        let uuid = f.add_run("ada", worksheet, "r", &[]).await;
        assert_eq!(f.state(uuid).await, S::Created);
        assert!(!f.assign_run(uuid, &worker, &json!({}), NOW).await.unwrap());
        assert!(f.stage(uuid, NOW).await.unwrap());
        assert!(!f.stage(uuid, NOW).await.unwrap());
        assert!(f.metadata(uuid).await.str("staged_status").starts_with("Bundle's dependencies are all ready."));
        assert!(f.assign_run(uuid, &worker, &json!({"type": "run", "n": 1}), NOW).await.unwrap());
        assert!(!f.assign_run(uuid, &worker, &json!({}), NOW).await.unwrap());
        assert_eq!(f.worker_of_run(uuid).await.unwrap().as_ref(), Some(&worker));
        let pending = f.pending_messages(&worker, NOW, 10).await.unwrap();
        assert_eq!((pending.len(), pending[0].payload["n"].as_i64()), (1, Some(1)));
        for _ in 0..2 {
            assert!(f.start_run(&start(uuid, &worker)).await.unwrap());
        }
        let metadata = f.metadata(uuid).await;
        assert_eq!((metadata.str("remote"), metadata.list("remote_history")), ("host", vec!["host"]));
        assert_eq!(metadata.int("started"), NOW + 1);
        for state in ["preparing", "running", "finalizing"] {
            let outcome = f.report_run(&worker, &report(uuid, state, json!({"exitcode": 0})), NOW + 2).await.unwrap();
            assert_eq!(outcome, ReportOutcome::Applied { state: state.parse().unwrap(), over_quota: None });
        }
        assert_eq!(f.finalize_run(uuid, NOW + 3).await.unwrap(), Some(S::Ready));
        assert_eq!(f.finalize_run(uuid, NOW + 3).await.unwrap(), None);
        let metadata = f.metadata(uuid).await;
        assert_eq!((metadata.str("run_status"), metadata.int("last_updated"), metadata.str("remote")), ("Finished", NOW + 3, "w"));
        assert_eq!(f.worker_of_run(uuid).await.unwrap(), None);
        assert_eq!((f.disk_used("ada").await, f.time_used("ada").await as i64), (100, 10));
        // A late report changes nothing.
        let late = f.report_run(&worker, &report(uuid, "running", json!({"disk_utilization": 9999})), NOW).await.unwrap();
        assert_eq!(late, ReportOutcome::NotAssigned { state: Some(S::Ready) });
        assert_eq!(f.disk_used("ada").await, 100);
    }

    async fn exit_code_and_failure_message_decide_the_end(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w1").await;
        for (more, state, message) in [
            (json!({"exitcode": 3}), S::Failed, Some("Exit code 3")),
            (json!({"exitcode": 0, "failure_message": "No space"}), S::Failed, Some("No space")),
            (json!({"failure_message": "x Kill requested: y"}), S::Killed, Some("x Kill requested: y")),
            (json!({}), S::Ready, None),
        ] {
            let uuid = f.add_running("ada", worksheet, "r", &worker).await;
            f.report_run(&worker, &report(uuid, "finalizing", more), NOW).await.unwrap();
            assert_eq!(f.finalize_run(uuid, NOW).await.unwrap(), Some(state));
            let metadata = f.metadata(uuid).await;
            assert_eq!(metadata.get("failure_message").and_then(|value| value.as_str()), message);
        }
    }

    async fn only_the_worker_that_has_a_run_may_report_on_it(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w1").await;
        let same_name = f.add_worker("bob", "w1").await;
        let uuid = f.add_running("ada", worksheet, "r", &worker).await;
        for state in ["running", "finalizing", "staged"] {
            assert_eq!(
                f.report_run(&same_name, &report(uuid, state, json!({})), NOW).await.unwrap(),
                ReportOutcome::NotAssigned { state: Some(S::Preparing) }
            );
        }
        assert_eq!(f.report_run(&worker, &report(uuid, "ready", json!({})), NOW).await.unwrap(), ReportOutcome::Ignored);
        assert_eq!(
            f.report_run(&worker, &report(fresh_uuid(), "running", json!({})), NOW).await.unwrap(),
            ReportOutcome::NotAssigned { state: None }
        );
        assert_eq!(refused(f.start_run(&start(uuid, &same_name)).await), (403, "User does not have permission to run bundle.".to_owned()));
        assert_eq!(refused(f.start_run(&start(fresh_uuid(), &worker)).await).0, 404);
        let other = f.add_worker("0", "w2").await;
        assert!(!f.start_run(&start(uuid, &other)).await.unwrap());
    }

    async fn time_is_charged_by_difference_and_only_on_workers_of_root(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let (public, own) = (f.add_worker("0", "w1").await, f.add_worker("ada", "w2").await);
        let uuid = f.add_running("ada", worksheet, "r", &public).await;
        for (time, used) in [(1.5, 1.5), (4.0, 4.0), (4.0, 4.0), (1.0, 5.0)] {
            f.report_run(&public, &report(uuid, "running", json!({"container_time_total": time})), NOW).await.unwrap();
            assert!((f.time_used("ada").await - used).abs() < 1e-9);
        }
        let uuid = f.add_running("ada", worksheet, "r", &own).await;
        f.report_run(&own, &report(uuid, "running", json!({"container_time_total": 100.0})), NOW).await.unwrap();
        assert!((f.time_used("ada").await - 5.0).abs() < 1e-9);
    }

    async fn disk_is_charged_by_difference_and_given_back(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w1").await;
        let uuid = f.add_running("ada", worksheet, "r", &worker).await;
        for (bytes, used) in [(5_000_000_000_i64, 5_000_000_000_i64), (5_000_000_001, 5_000_000_001), (0, 5_000_000_001), (7, 7)] {
            f.report_run(&worker, &report(uuid, "running", json!({"disk_utilization": bytes})), NOW).await.unwrap();
            assert_eq!(f.disk_used("ada").await, used);
        }
        assert_eq!(f.report_run(&worker, &report(uuid, "staged", json!({})), NOW).await.unwrap(), ReportOutcome::Restaged);
        assert_eq!((f.disk_used("ada").await, f.state(uuid).await), (0, S::Staged));
        let metadata = f.metadata(uuid).await;
        for gone in ["data_size", "time", "remote", "started", "run_status", "last_updated"] {
            assert_eq!(metadata.get(gone), None, "{gone}");
        }
        assert_eq!((metadata.list("remote_history"), metadata.int("created")), (vec!["host"], NOW));
        assert_eq!(f.worker_of_run(uuid).await.unwrap(), None);
    }

    async fn an_owner_without_quota_gets_a_kill_message(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w1").await;
        let uuid = f.add_running("ada", worksheet, "r", &worker).await;
        let quota = |time: f64, disk: f64| UserUpdate { time_quota: Some(time), disk_quota: Some(disk), ..UserUpdate::default() };
        for (time, disk, text) in [(1e6, 50.0, "disk"), (5.0, 50.0, "time"), (5.0, 1e9, "time")] {
            f.update_user("ada", quota(time, disk)).await.unwrap();
            let outcome = f.report_run(&worker, &report(uuid, "running", json!({})), NOW).await.unwrap();
            let ReportOutcome::Applied { over_quota: Some(message), .. } = outcome else { panic!("{outcome:?}") };
            assert!(message.starts_with(&format!("Kill requested: User {text} quota exceeded.")), "{message}");
        }
        assert_eq!(refused(f.create("ada", Some(worksheet), run("x", &[])).await).0, 400);
    }

    async fn a_lost_worker_takes_its_runs_offline_and_may_come_back(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w1").await;
        let uuid = f.add_running("ada", worksheet, "r", &worker).await;
        let starting = f.add_run("ada", worksheet, "s", &[]).await;
        f.stage(starting, NOW).await.unwrap();
        f.assign_run(starting, &worker, &json!({}), NOW).await.unwrap();
        assert!(f.remove_silent_workers(NOW, NOW + 60).await.unwrap().is_empty());
        let removed = f.remove_silent_workers(NOW + 1, NOW + 60).await.unwrap();
        assert_eq!(removed, [(worker.clone(), vec![uuid, starting])]);
        assert_eq!((f.state(uuid).await, f.state(starting).await), (S::WorkerOffline, S::Staged));
        assert_eq!(f.metadata(uuid).await.int("last_updated"), NOW + 60);
        // Unknown (it has not checked in again) and without permission: no.
        let stranger = f.add_worker("bob", "w1").await;
        for wrong in [&worker, &stranger] {
            assert_eq!(
                f.report_run(wrong, &report(uuid, "running", json!({})), NOW).await.unwrap(),
                ReportOutcome::NotAssigned { state: Some(S::WorkerOffline) }
            );
        }
        f.worker_checkin(&worker, &checkin(), NOW + 90).await.unwrap();
        f.report_run(&worker, &report(uuid, "running", json!({})), NOW + 90).await.unwrap();
        assert_eq!((f.state(uuid).await, f.worker_of_run(uuid).await.unwrap()), (S::Running, Some(worker)));
    }

    async fn a_run_on_a_preemptible_worker_is_staged_again(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w1").await;
        let mut preemptible = checkin();
        preemptible.preemptible = true;
        f.worker_checkin(&worker, &preemptible, NOW).await.unwrap();
        let uuid = f.add_running("ada", worksheet, "r", &worker).await;
        assert!(f.lose_worker(uuid, NOW).await.unwrap());
        assert!(!f.lose_worker(uuid, NOW).await.unwrap());
        assert_eq!((f.state(uuid).await, f.metadata(uuid).await.list("remote_history")), (S::Staged, vec!["host"]));
    }

    async fn terminating_and_unknown_workers_get_nothing(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w1").await;
        let uuid = f.add_run("ada", worksheet, "r", &[]).await;
        f.stage(uuid, NOW).await.unwrap();
        let mut leaving = checkin();
        leaving.is_terminating = true;
        f.worker_checkin(&worker, &leaving, NOW).await.unwrap();
        assert!(!f.assign_run(uuid, &worker, &json!({}), NOW).await.unwrap());
        f.remove_worker(&worker, NOW).await.unwrap();
        assert!(!f.assign_run(uuid, &worker, &json!({}), NOW).await.unwrap());
        assert_eq!(f.state(uuid).await, S::Staged);
    }

    async fn of_many_assignments_at_once_one_wins(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let workers = [f.add_worker("0", "w1").await, f.add_worker("0", "w2").await, f.add_worker("bob", "w1").await];
        let uuid = f.add_run("ada", worksheet, "r", &[]).await;
        f.stage(uuid, NOW).await.unwrap();
        let message = json!({});
        let attempts = workers.iter().cycle().take(12).map(|worker| f.assign_run(uuid, worker, &message, NOW));
        let won: Vec<bool> = futures::future::try_join_all(attempts).await.unwrap();
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        assert_eq!(f.run_assignments().await.unwrap().len(), 1);
        let waiting: usize = futures::future::try_join_all(workers.iter().map(|w| f.pending_messages(w, NOW, 9))).await.unwrap().iter().map(Vec::len).sum();
        assert_eq!(waiting, 1);
    }

    async fn kills_go_to_the_worker_or_end_the_bundle(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w1").await;
        let waiting = f.add_run("ada", worksheet, "r", &[]).await;
        assert_eq!(f.kill(waiting, None, NOW).await.unwrap(), KillOutcome::Killed);
        assert_eq!((f.state(waiting).await, f.metadata(waiting).await.list("actions")), (S::Killed, vec!["kill"]));
        let (status, text) = refused(f.kill(waiting, None, NOW).await);
        assert!(status == 400 && text.starts_with("Cannot execute this action on a bundle"), "{text}");
        let running = f.add_running("ada", worksheet, "r", &worker).await;
        let before = f.pending_messages(&worker, NOW, 10).await.unwrap().len();
        assert_eq!(f.kill(running, None, NOW).await.unwrap(), KillOutcome::Sent(worker.clone()));
        f.write_to_run(running, "in/x", "hello world", NOW).await.unwrap();
        let messages = f.pending_messages(&worker, NOW, 10).await.unwrap();
        let sent: Vec<_> = messages[before..].iter().map(|message| message.payload.clone()).collect();
        assert_eq!(sent, [
            json!({"type": "kill", "uuid": running}),
            json!({"type": "write", "uuid": running, "subpath": "in/x", "string": "hello world"}),
        ]);
        assert_eq!(f.metadata(running).await.list("actions"), ["kill", "write\tin/x\thello world"]);
        let upload = f.create("ada", Some(worksheet), dataset("d")).await.unwrap();
        assert_eq!(refused(f.write_to_run(upload, "x", "y", NOW).await).0, 400);
        assert_eq!(f.kill(upload, None, NOW).await.unwrap(), KillOutcome::Killed);
        assert_eq!(refused(f.kill(fresh_uuid(), None, NOW).await).0, 404);
    }

    async fn failing_a_bundle_takes_it_from_its_worker(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w1").await;
        let uuid = f.add_running("ada", worksheet, "r", &worker).await;
        assert!(!f.fail(uuid, &[S::Created, S::Staged], "no", None, NOW).await.unwrap());
        assert!(f.fail(uuid, &[S::Preparing], "why", Some("where"), NOW).await.unwrap());
        let metadata = f.metadata(uuid).await;
        assert_eq!((metadata.str("failure_message"), metadata.str("error_traceback")), ("why", "where"));
        assert_eq!(f.worker_of_run(uuid).await.unwrap(), None);
        let messages = f.pending_messages(&worker, NOW, 10).await.unwrap();
        assert_eq!(messages.iter().map(|m| m.kind.as_str()).collect::<Vec<_>>(), ["kill"]);
        assert!(!f.fail(uuid, &[S::Failed, S::Ready], "again", None, NOW).await.unwrap());
        assert!(!f.report_final_state(uuid, S::Ready, None, NOW).await.unwrap());
        assert_eq!(refused(f.report_final_state(uuid, S::Running, None, NOW).await).0, 400);
    }

    async fn uploads_set_the_size_and_the_state(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let uuid = f.create("ada", Some(worksheet), dataset("d")).await.unwrap();
        assert_eq!(f.increment_disk_used(uuid, 16384).await.unwrap(), 16384);
        assert_eq!(f.increment_disk_used(uuid, 16384).await.unwrap(), 32768);
        assert_eq!(refused(f.increment_disk_used(uuid, 0).await), (400, "Only positive disk increments are allowed.".to_owned()));
        f.upload(uuid, 1000).await.unwrap();
        assert_eq!((f.disk_used("ada").await, f.state(uuid).await), (1000, S::Ready));
        let bundle = f.bundle(uuid).await.unwrap().bundle;
        assert_eq!((bundle.storage_type.as_deref(), bundle.is_dir, bundle.metadata.int("data_size")), (Some("disk"), Some(false), 1000));
        assert_eq!(
            refused(f.upload(uuid, 5).await),
            (403, "Contents cannot be modified, bundle already finalized.".to_owned())
        );
        assert_eq!(f.contents(&[uuid]).await.unwrap()[&uuid], [contents(uuid, 1000)]);
        assert_eq!(refused(f.upload(fresh_uuid(), 1).await).0, 404);
    }

    async fn an_upload_over_the_quota_fails_and_costs_nothing(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        f.add_dataset("ada", worksheet, "old", 100).await;
        f.update_user("ada", UserUpdate { disk_quota: Some(1000.0), ..UserUpdate::default() }).await.unwrap();
        let uuid = f.create("ada", Some(worksheet), dataset("d")).await.unwrap();
        let (status, text) = refused(f.upload(uuid, 901).await);
        assert_eq!(status, 400);
        assert!(text.starts_with("Upload failed: ") && text.contains("user disk quota exceeded"), "{text}");
        assert!(text.contains("901") && text.contains("900"), "{text}");
        assert_eq!((f.disk_used("ada").await, f.state(uuid).await), (100, S::Failed));
        assert_eq!(f.metadata(uuid).await.str("failure_message"), text);
        let fits = f.create("ada", Some(worksheet), dataset("d")).await.unwrap();
        f.upload(fits, 900).await.unwrap();
        assert_eq!(f.disk_used("ada").await, 1000);
    }

    async fn a_run_whose_upload_was_refused_still_hears_of_its_worker(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w1").await;
        f.update_user("ada", UserUpdate { disk_quota: Some(1000.0), ..UserUpdate::default() }).await.unwrap();
        let uuid = f.add_running("ada", worksheet, "r", &worker).await;
        f.report_run(&worker, &report(uuid, "running", json!({"disk_utilization": 400})), NOW).await.unwrap();
        refused(f.finish_upload(&contents(uuid, 5000), "disk", None, None, NOW).await);
        assert_eq!((f.state(uuid).await, f.disk_used("ada").await), (S::Failed, 0));
        let outcome = f.report_run(&worker, &report(uuid, "running", json!({})), NOW).await.unwrap();
        assert!(matches!(outcome, ReportOutcome::Applied { state: S::Failed, .. }), "{outcome:?}");
        f.report_run(&worker, &report(uuid, "finalizing", json!({"exitcode": 0})), NOW).await.unwrap();
        assert_eq!(f.finalize_run(uuid, NOW).await.unwrap(), Some(S::Failed));
        assert_eq!(f.disk_used("ada").await, 0);
        assert!(f.metadata(uuid).await.str("failure_message").starts_with("Upload failed: user disk quota"));
    }

    async fn a_failed_upload_leaves_a_message_and_no_size(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let uuid = f.create("ada", Some(worksheet), dataset("d")).await.unwrap();
        f.increment_disk_used(uuid, 500).await.unwrap();
        assert!(f.fail_upload(uuid, "cut off", Some("tréceback"), false, NOW).await.unwrap());
        assert_eq!((f.state(uuid).await, f.disk_used("ada").await), (S::Uploading, 0));
        assert!(f.fail_upload(uuid, "Upload failed: cut off", None, true, NOW).await.unwrap());
        assert!(!f.fail_upload(uuid, "again", None, true, NOW).await.unwrap());
        let metadata = f.metadata(uuid).await;
        assert_eq!(metadata.str("failure_message"), "Upload failed: cut off");
        assert_eq!(metadata.str("error_traceback"), "tr?ceback");
    }

    async fn making_ends_ready_or_failed(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let parent = f.add_dataset("ada", worksheet, "p", 10).await;
        let new = async || {
            let uuid = f.create("ada", Some(worksheet), make("m", parent)).await.unwrap();
            f.stage(uuid, NOW).await.unwrap();
            assert!(f.start_making(uuid, NOW).await.unwrap());
            uuid
        };
        let uuid = new().await;
        assert!(f.restart_making(uuid).await.unwrap());
        assert!(!f.restart_making(uuid).await.unwrap());
        assert!(f.start_making(uuid, NOW).await.unwrap());
        assert!(f.finish_making(uuid, &MakeOutcome::Done(Box::new(contents(uuid, 30))), NOW).await.unwrap());
        assert_eq!((f.state(uuid).await, f.disk_used("ada").await), (S::Ready, 40));
        let uuid = new().await;
        let failed = MakeOutcome::Failed { message: "gone".into(), traceback: None };
        assert!(f.finish_making(uuid, &failed, NOW).await.unwrap());
        assert!(!f.finish_making(uuid, &failed, NOW).await.unwrap());
        assert_eq!((f.state(uuid).await, f.metadata(uuid).await.str("failure_message")), (S::Failed, "gone"));
        let uuid = new().await;
        f.update_user("ada", UserUpdate { disk_quota: Some(50.0), ..UserUpdate::default() }).await.unwrap();
        refused(f.finish_making(uuid, &MakeOutcome::Done(Box::new(contents(uuid, 30))), NOW).await);
        assert_eq!((f.state(uuid).await, f.disk_used("ada").await), (S::Failed, 40));
    }

    async fn bundles_without_news_are_failed_after_a_while(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let worker = f.add_worker("0", "w1").await;
        let old = f.create("ada", Some(worksheet), dataset("d")).await.unwrap();
        let ready = f.add_dataset("ada", worksheet, "ready", 1).await;
        let running = f.add_running("ada", worksheet, "r", &worker).await;
        let later = NOW + 61 * 86_400;
        f.report_run(&worker, &report(running, "running", json!({})), later - 5).await.unwrap();
        assert_eq!(f.fail_stuck_bundles(later - 60 * 86_400, later).await.unwrap(), [old]);
        assert_eq!(f.metadata(old).await.str("failure_message"), "Bundle has been stuck in uploading state for more than 60 days.");
        assert_eq!((f.state(ready).await, f.state(running).await), (S::Ready, S::Running));
    }

    async fn staged_status_is_written_only_when_it_changes(f) {
        let worksheet = f.add_worksheet("ada", "w").await;
        let uuid = f.add_run("ada", worksheet, "r", &[]).await;
        assert!(!f.set_staged_status(uuid, "waits").await.unwrap());
        f.stage(uuid, NOW).await.unwrap();
        assert!(f.set_staged_status(uuid, "waits").await.unwrap());
        assert!(!f.set_staged_status(uuid, "waits").await.unwrap());
        assert_eq!(refused(f.set_metadata(uuid, &Metadata::try_from(json!({"data_size": 1})).unwrap()).await).0, 400);
        assert_eq!(refused(f.set_metadata(uuid, &Metadata::try_from(json!({"nope": 1})).unwrap()).await).0, 400);
        f.set_metadata(uuid, &Metadata::try_from(json!({"run_status": "x", "staged_status": null})).unwrap()).await.unwrap();
        assert_eq!(f.metadata(uuid).await.get("staged_status"), None);
        f.append_action(uuid, "kill").await.unwrap();
        assert_eq!(f.bundle(uuid).await.unwrap().bundle.metadata.list("actions"), ["kill"]);
    }
}

//! Live figures of a container, from the engine's own stream of them.

use bollard::Docker;
use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::StatsOptionsBuilder;
use futures::StreamExt;
use tokio::sync::watch;

use crate::runtime::Usage;

/// Follows the stream until it ends with the container.
pub async fn follow(docker: &Docker, handle: &str, usage: &watch::Sender<Usage>) {
    let options = StatsOptionsBuilder::default().stream(true).one_shot(false).build();
    let mut figures = docker.stats(handle, Some(options));
    let mut before: Option<ContainerStatsResponse> = None;
    let mut peak = 0;
    while let Some(Ok(now)) = figures.next().await {
        let mut measured = interpret(&now, before.as_ref());
        peak = peak.max(measured.memory_max);
        measured.memory_max = peak;
        usage.send_replace(measured);
        before = Some(now);
    }
}

fn interpret(now: &ContainerStatsResponse, before: Option<&ContainerStatsResponse>) -> Usage {
    let cpu_of = |figures: &ContainerStatsResponse| {
        let cpu = figures.cpu_stats.as_ref()?;
        Some((cpu.cpu_usage.as_ref()?.total_usage?, cpu.system_cpu_usage?))
    };
    let cpu_stats = now.cpu_stats.as_ref();
    let cores = cpu_stats.and_then(|cpu| cpu.online_cpus).unwrap_or(1);
    let cpu = match (cpu_of(now), before.and_then(cpu_of)) {
        (Some((used, system)), Some((was_used, was_system))) if used > was_used && system > was_system => {
            (used - was_used) as f64 / (system - was_system) as f64 * f64::from(cores)
        }
        _ => 0.0,
    };
    let times = cpu_stats.and_then(|cpu| cpu.cpu_usage.as_ref());
    let seconds = |nanoseconds: Option<u64>| nanoseconds.unwrap_or(0) as f64 / 1e9;
    let memory = now.memory_stats.as_ref();
    let used = memory.and_then(|memory| memory.usage).unwrap_or(0);
    // Files that the kernel merely remembers are not the run's memory: it gives them up when there is need.
    let cache = memory.and_then(|memory| memory.stats.as_ref()).map_or(0, |stats| {
        ["inactive_file", "total_inactive_file"]
            .iter()
            .find_map(|key| stats.get(*key))
            .copied()
            .unwrap_or(0)
    });
    let own = used.saturating_sub(cache);
    Usage {
        cpu,
        memory: own,
        memory_max: own,
        user_seconds: seconds(times.and_then(|times| times.usage_in_usermode)),
        system_seconds: seconds(times.and_then(|times| times.usage_in_kernelmode)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_differences_between_two_looks() {
        let figures = |total: u64, system: u64| -> ContainerStatsResponse {
            serde_json::from_value(serde_json::json!({
                "cpu_stats": {"cpu_usage": {"total_usage": total, "usage_in_usermode": 3_000_000_000_u64,
                    "usage_in_kernelmode": 1_000_000_000}, "system_cpu_usage": system, "online_cpus": 4},
                "memory_stats": {"usage": 1000, "stats": {"inactive_file": 300}},
            }))
            .unwrap()
        };
        let now = interpret(&figures(500, 1000), Some(&figures(250, 0)));
        assert_eq!(
            now,
            Usage {
                cpu: 1.0,
                memory: 700,
                memory_max: 700,
                user_seconds: 3.0,
                system_seconds: 1.0
            }
        );
        assert!(interpret(&figures(500, 1000), None).cpu.abs() < f64::EPSILON);
        let nothing = interpret(&ContainerStatsResponse::default(), None);
        assert_eq!(nothing, Usage::default());
    }
}

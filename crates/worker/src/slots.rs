//! Which processors and GPUs are lent to which run.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::machine::Machine;

/// The machine's processors and GPUs, lent out run by run.
pub struct Slots {
    cpu_total: usize,
    gpu_total: usize,
    free: Mutex<Free>,
    /// Told whenever something came back.
    pub returned: Notify,
}

struct Free {
    cpus: BTreeSet<u32>,
    gpus: BTreeSet<String>,
}

/// Processors and GPUs of one run; dropping it gives them back.
pub struct Lease {
    slots: Arc<Slots>,
    pub cpus: BTreeSet<u32>,
    pub gpus: BTreeSet<String>,
}

impl Slots {
    pub fn new(machine: &Machine) -> Arc<Self> {
        Arc::new(Self {
            cpu_total: machine.cpus.len(),
            gpu_total: machine.gpus.len(),
            free: Mutex::new(Free {
                cpus: machine.cpus.clone(),
                gpus: machine.gpus.clone(),
            }),
            returned: Notify::new(),
        })
    }

    /// Any `cpus` processors and `gpus` GPUs, or why not.
    pub fn lend(self: &Arc<Self>, uuid: &str, cpus: usize, gpus: usize) -> Result<Lease, String> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let short = |kind: &str, wanted: usize, free: usize, total: usize| {
            format!(
                "Unexpectedly unable to assign enough resources to bundle {uuid}: Requested more {kind} ({wanted}) than \
                 available ({free} currently out of {total} on the machine)"
            )
        };
        if cpus > free.cpus.len() {
            return Err(short("CPUs", cpus, free.cpus.len(), self.cpu_total));
        }
        if gpus > free.gpus.len() {
            return Err(short("GPUs", gpus, free.gpus.len(), self.gpu_total));
        }
        let taken_cpus: BTreeSet<u32> = free.cpus.iter().take(cpus).copied().collect();
        let taken_gpus: BTreeSet<String> = free.gpus.iter().take(gpus).cloned().collect();
        free.cpus.retain(|cpu| !taken_cpus.contains(cpu));
        free.gpus.retain(|gpu| !taken_gpus.contains(gpu));
        Ok(Lease {
            slots: self.clone(),
            cpus: taken_cpus,
            gpus: taken_gpus,
        })
    }

    /// Takes what a run that outlived the last worker still uses.
    pub fn reclaim(self: &Arc<Self>, cpus: &BTreeSet<u32>, gpus: &BTreeSet<String>) -> Lease {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let taken_cpus: BTreeSet<u32> = free.cpus.intersection(cpus).copied().collect();
        let taken_gpus: BTreeSet<String> = free.gpus.intersection(gpus).cloned().collect();
        free.cpus.retain(|cpu| !taken_cpus.contains(cpu));
        free.gpus.retain(|gpu| !taken_gpus.contains(gpu));
        Lease {
            slots: self.clone(),
            cpus: taken_cpus,
            gpus: taken_gpus,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut free = self.slots.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.cpus.append(&mut self.cpus);
        free.gpus.append(&mut self.gpus);
        drop(free);
        self.slots.returned.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_come_back_when_a_lease_ends() {
        let machine = Machine {
            cpus: BTreeSet::from([0, 3]),
            gpus: BTreeSet::from(["GPU-a".to_owned()]),
            memory: 1,
            hostname: String::new(),
        };
        let slots = Slots::new(&machine);
        let first = slots.lend("0x1", 1, 1).unwrap();
        let held = slots.reclaim(&BTreeSet::from([3, 9]), &BTreeSet::new());
        assert_eq!((first.cpus.len(), held.cpus.len()), (1, 1));
        let refused = slots.lend("0x2", 1, 0).err().unwrap();
        assert!(refused.ends_with("Requested more CPUs (1) than available (0 currently out of 2 on the machine)"));
        drop(first);
        assert!(slots.lend("0x2", 1, 1).is_ok());
    }
}

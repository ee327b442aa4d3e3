//! The bridge between waiting and computing: one pool of threads for pixels, one budget of memory.
//!
//! Work is queued outside the pool, so that an urgent job can overtake; a panic in a recipe becomes an error value.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const MIB: u64 = 1 << 20;

/// Threads for pixels and memory for jobs.
#[derive(Clone)]
pub struct Executor {
    pool: Arc<rayon::ThreadPool>,
    memory: Arc<Semaphore>,
    budget_mib: u32,
}

/// Memory set aside for one job; given back when dropped.
pub struct MemoryPermit {
    _permit: OwnedSemaphorePermit,
    /// True when the job wants more than the whole budget: it then runs alone.
    pub oversized: bool,
}

/// A closure panicked; the text is what it said.
#[derive(Debug, thiserror::Error)]
#[error("a panic: {message}")]
pub struct Panicked {
    /// What the panic said.
    pub message: String,
}

impl Executor {
    /// `threads` = 0 means one per processor; `memory_mib` = 0 means 60 % of what the machine or container has.
    pub fn new(threads: usize, memory_mib: u64) -> Result<Executor, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("pixels-{index}"))
            .build()?;
        let budget = if memory_mib == 0 { available_mib() * 6 / 10 } else { memory_mib };
        let budget_mib = u32::try_from(budget).unwrap_or(u32::MAX).clamp(64, Semaphore::MAX_PERMITS as u32);
        Ok(Executor { pool: Arc::new(pool), memory: Arc::new(Semaphore::new(budget_mib as usize)), budget_mib })
    }

    /// Memory that concurrent jobs may use together, MiB.
    pub fn budget_mib(&self) -> u32 {
        self.budget_mib
    }

    /// Set memory aside if it is free now. A job that wants more than the whole budget gets all of it.
    pub fn try_reserve(&self, bytes: u64) -> Option<MemoryPermit> {
        let wanted = u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX);
        let permit = self.memory.clone().try_acquire_many_owned(wanted.clamp(1, self.budget_mib)).ok()?;
        Some(MemoryPermit { _permit: permit, oversized: wanted > self.budget_mib })
    }

    /// Run a closure that reads, computes and writes on a thread of its own; its parallel parts use the pixel pool.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
        let pool = self.pool.clone();
        let caught =
            tokio::task::spawn_blocking(move || std::panic::catch_unwind(AssertUnwindSafe(|| pool.install(work))))
                .await;
        match caught {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(panic)) => Err(Panicked { message: panic_text(panic.as_ref()) }),
            Err(join) => Err(Panicked { message: join.to_string() }),
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a text".to_string())
}

/// Memory of the machine, or of the container when that is less.
fn available_mib() -> u64 {
    let machine = rustix::system::sysinfo();
    let total = machine.totalram * u64::from(machine.mem_unit) / MIB;
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .map_or(total, |bytes| bytes / MIB);
    total.min(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_is_shared_and_given_back_and_an_oversized_job_runs_alone() {
        let executor = Executor::new(1, 100).expect("a pool");
        let first = executor.try_reserve(60 * MIB).expect("fits");
        assert!(executor.try_reserve(60 * MIB).is_none());
        drop(first);
        let all = executor.try_reserve(500 * MIB).expect("alone");
        assert!(all.oversized);
        assert!(executor.try_reserve(1).is_none());
    }

    #[tokio::test]
    async fn a_panic_is_a_value() {
        let executor = Executor::new(1, 100).expect("a pool");
        let error = executor.run(|| -> i32 { panic!("on purpose") }).await.expect_err("panicked");
        assert_eq!(error.message, "on purpose");
        assert_eq!(executor.run(|| 7).await.expect("alive"), 7);
    }
}

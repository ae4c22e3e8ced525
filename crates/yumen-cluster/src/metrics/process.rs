//! What the system says of this process. Linux: it reads `/proc/self`.
//!
//! A number that cannot be read is left out; there is nothing else to do about it.

use super::{
    family,
    page::{Page, Whose},
};
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};
use std::{fs, time::Duration};

/// Ticks a second of the times in `/proc`: the same on every architecture that Yumen runs on.
const TICKS: u64 = 100;

/// Everything about the process.
pub(super) fn process(page: &mut Page<'_>) {
    let whose = Whose(&[]);
    let mut show = |family, value: Option<u64>| {
        value.into_iter().for_each(|value| page.sample(family, whose, &[], value));
    };
    show(&family::OPEN_FDS, open_fds());
    show(&family::MAX_FDS, getrlimit(Resource::Nofile).current);
    show(&family::RESIDENT, resident());
    page.sample(&family::CPU, whose, &[], cpu());
    started().into_iter().for_each(|at| page.sample(&family::START_TIME, whose, &[], at));
    page.sample(&family::BUILD, whose, &[env!("CARGO_PKG_VERSION")], 1);
}

/// Descriptors that are open.
fn open_fds() -> Option<u64> {
    // Since Linux 6.2 the folder's length is their number; counting them takes a call for some
    // hundreds each.
    let folder = "/proc/self/fd";
    match fs::metadata(folder).ok()?.len() {
        0 => u64::try_from(fs::read_dir(folder).ok()?.count()).ok(),
        open => Some(open),
    }
}

fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (whole, part) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(whole.unwrap_or(0), part.unwrap_or(0))
}

/// When the process was started, since 1970.
fn started() -> Option<Duration> {
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot = system.lines().find_map(|line| line.strip_prefix("btime "))?;
    let boot = Duration::from_secs(boot.trim().parse().ok()?);
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which is in parentheses and may hold anything, it is the 20th field.
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let millis = ticks.checked_mul(1000)?.checked_div(TICKS)?;
    boot.checked_add(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn what_the_system_says_is_plausible() {
        let open = open_fds().unwrap();
        let more: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        // Other tests of this program open and close some meanwhile.
        assert!(open_fds().unwrap() > open + 50, "{open}");
        drop(more);
        assert!(resident().unwrap() > 1024 * 1024);
        let before = cpu();
        let mut sum = 0_u64;
        while cpu() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let age = now.checked_sub(started().unwrap()).unwrap();
        assert!(age < Duration::from_secs(24 * 3600), "{age:?}");
    }
}

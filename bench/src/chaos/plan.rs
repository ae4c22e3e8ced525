//! What is done to whom, and when: one fault after the other, each undone before the next.
use clap::ValueEnum;
use std::str::FromStr;
use std::time::Duration;

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Length {
    /// Every process once killed and once stopped; outages of 20 s of etcd and Redis. Four minutes.
    Ci,
    /// One kill of a gate and of a node. Half a minute.
    Short,
    /// The same faults as `ci`, with outages of two minutes. An hour.
    Long,
    /// Kills of gates and nodes for ten minutes, to see that memory and descriptors level off.
    Memory,
}

/// What is done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// `kill -9`, and started again at the end of the outage.
    Kill,
    /// SIGSTOP, and SIGCONT at the end of the outage.
    Stop,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(super) who: &'static str,
    pub(super) how: How,
    /// From the fault until it is undone.
    pub(super) outage: Duration,
    /// From then until the next.
    pub(super) calm: Duration,
}

/// The gates of the fleet.
pub(super) const GATES: [&str; 2] = ["gate-1", "gate-2"];
/// The nodes of the fleet.
pub(super) const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
/// The registry.
pub(super) const ETCD: &str = "etcd";
/// The locator.
pub(super) const REDIS: &str = "redis";

impl FromStr for Step {
    type Err = String;

    /// `WHO:kill|stop:SECONDS:SECONDS`: outage, and calm behind it.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not as redis:kill:20:10");
        let words: Vec<&str> = text.split(':').collect();
        let [who, how, outage, calm] = words.as_slice() else { return Err(wrong()) };
        let mut all = GATES.into_iter().chain(NODES).chain([ETCD, REDIS]);
        let who = all.find(|name| name == who).ok_or_else(wrong)?;
        let how = match *how {
            "kill" => How::Kill,
            "stop" => How::Stop,
            _ => return Err(wrong()),
        };
        let seconds = |text: &str| text.parse().map(Duration::from_secs).map_err(|_| wrong());
        Ok(Self { who, how, outage: seconds(outage)?, calm: seconds(calm)? })
    }
}

impl Length {
    /// The faults, in their order.
    pub(crate) fn steps(self) -> Vec<Step> {
        let step = |who, how, outage, calm| Step {
            who,
            how,
            outage: Duration::from_secs(outage),
            calm: Duration::from_secs(calm),
        };
        match self {
            Self::Short => vec![step("gate-1", How::Kill, 7, 8), step("node-1", How::Kill, 7, 8)],
            Self::Ci => vec![
                step("node-1", How::Kill, 7, 7),
                step("gate-1", How::Kill, 7, 8),
                step(REDIS, How::Kill, 20, 8),
                step("node-2", How::Stop, 14, 8),
                step(ETCD, How::Kill, 20, 7),
                step("gate-2", How::Stop, 14, 8),
                step(REDIS, How::Stop, 20, 8),
                step("node-3", How::Kill, 7, 7),
                step(ETCD, How::Stop, 20, 7),
                step("gate-2", How::Kill, 7, 8),
            ],
            Self::Long => {
                let all = GATES.into_iter().chain(NODES).chain([ETCD, REDIS]);
                let both = all.flat_map(|who| [(who, How::Kill), (who, How::Stop)]);
                both.map(|(who, how)| step(who, how, 120, 30)).collect()
            }
            Self::Memory => {
                let turns = GATES.into_iter().chain(NODES).cycle().take(25);
                turns.map(|who| step(who, How::Kill, 10, 14)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_in_ci_takes_less_than_four_minutes_and_leaves_no_process_out() {
        let steps = Length::Ci.steps();
        let took: Duration = steps.iter().map(|step| step.outage + step.calm).sum();
        assert!(took < Duration::from_secs(235), "{took:?}");
        for who in ["gate-1", "gate-2", "node-1", "node-2", "node-3", ETCD, REDIS] {
            assert!(steps.iter().any(|step| step.who == who), "{who}");
        }
        for how in [How::Kill, How::Stop] {
            for kind in ["gate", "node", ETCD, REDIS] {
                let hit = |step: &Step| step.how == how && step.who.starts_with(kind);
                assert!(steps.iter().any(hit), "{how:?} {kind}");
            }
        }
    }

    #[test]
    fn a_fault_is_written_as_who_how_and_two_times() {
        let step: Step = "redis:stop:20:10".parse().unwrap();
        assert_eq!((step.who, step.how), (REDIS, How::Stop));
        assert_eq!((step.outage.as_secs(), step.calm.as_secs()), (20, 10));
        for wrong in ["redis", "nobody:kill:1:1", "redis:hit:1:1", "redis:kill:x:1"] {
            assert!(wrong.parse::<Step>().unwrap_err().contains(wrong));
        }
    }

    #[test]
    fn a_long_run_kills_and_stops_each_process_for_two_minutes() {
        let steps = Length::Long.steps();
        assert_eq!(steps.len(), 14);
        assert!(steps.iter().all(|step| step.outage == Duration::from_secs(120)));
    }
}

//! What is done to whom, and when: one fault after the other, each undone before the next.
use clap::ValueEnum;
use std::str::FromStr;
use std::time::Duration;

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Length {
    /// Every process killed and stopped; outages of 20 s of etcd and Redis, and of one gate and one
    /// node for longer than their lease, each way. Five minutes.
    Ci,
    /// One kill of a gate and of a node. Half a minute.
    Short,
    /// Every process killed and stopped, with outages of two minutes. Forty minutes.
    Long,
    /// The lines to etcd, to Redis and between gates and nodes cut once each. For `--slow`; a minute.
    Lines,
    /// The same ten times, with outages of 20 s. For `--slow`; fifteen minutes.
    LinesLong,
    /// Kills of one gate and two nodes for ten minutes. The others live through all of it: their
    /// memory and descriptors have to level off.
    Memory,
    /// One server of a Redis Cluster killed and one stopped, each until its replica has long taken over,
    /// while clients go from gate to gate and are claimed at each. A minute.
    Failover,
    /// Every server of it killed and stopped, three times. A quarter of an hour.
    FailoverLong,
    /// Every node, then every gate, stopped as an update stops it and replaced, one at a time. A minute
    /// and a half.
    Roll,
}

/// What is done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// `kill -9`, and started again at the end of the outage.
    Kill,
    /// SIGSTOP, and SIGCONT at the end of the outage.
    Stop,
    /// Told to stop as an update does, and replaced once it has ended; the next follows when that is
    /// ready.
    Roll,
    /// The lines to it cut, and mended at the end of the outage. Needs lines that can be cut.
    Cut,
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

/// How many clients a second a gate of the fleet lets go when it stops.
pub(super) const CLOSES_PER_SECOND: u32 = 200;

/// The gates of the fleet.
pub(super) const GATES: [&str; 2] = ["gate-1", "gate-2"];
/// The nodes of the fleet.
pub(super) const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
/// The lines between gates and nodes, all together.
pub(super) const LINKS: &str = "links";
/// The registry.
pub(super) const ETCD: &str = "etcd";
/// The locator.
pub(super) const REDIS: &str = "redis";
/// The servers of the locator in runs of failovers: three primaries, then a replica of each.
pub(super) const REDIS_SERVERS: [&str; 6] =
    ["redis-1", "redis-2", "redis-3", "redis-4", "redis-5", "redis-6"];

impl FromStr for Step {
    type Err = String;

    /// `WHO:kill|stop|roll|cut:SECONDS:SECONDS`: outage, and calm behind it.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not as redis:kill:20:10");
        let words: Vec<&str> = text.split(':').collect();
        let [who, how, outage, calm] = words.as_slice() else { return Err(wrong()) };
        let fleet = GATES.into_iter().chain(NODES).chain([ETCD, REDIS, LINKS]);
        let mut all = fleet.chain(REDIS_SERVERS);
        let who = all.find(|name| name == who).ok_or_else(wrong)?;
        let how = match *how {
            "kill" => How::Kill,
            "stop" => How::Stop,
            "roll" if !GATES.contains(&who) && !NODES.contains(&who) => return Err(wrong()),
            "roll" => How::Roll,
            "cut" if !is_redis_server(who) => How::Cut,
            _ => return Err(wrong()),
        };
        if who == LINKS && how != How::Cut {
            return Err(wrong());
        }
        let seconds = |text: &str| text.parse().map(Duration::from_secs).map_err(|_| wrong());
        Ok(Self { who, how, outage: seconds(outage)?, calm: seconds(calm)? })
    }
}

/// Whether it is a server of a Redis Cluster.
pub(super) fn is_redis_server(who: &str) -> bool {
    REDIS_SERVERS.contains(&who)
}

impl Length {
    /// The faults, in their order.
    ///
    /// The calm behind each is long enough that the checker asks for an answer to everybody in it:
    /// traffic flows after 5 s, and a client sends a round within 3 s.
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
                step("node-1", How::Kill, 8, 8),
                step("gate-1", How::Stop, 5, 8),
                step(REDIS, How::Kill, 20, 8),
                step("node-2", How::Stop, 14, 8),
                step("gate-2", How::Kill, 14, 8),
                step(ETCD, How::Kill, 20, 8),
                step("node-3", How::Kill, 14, 8),
                step("gate-2", How::Stop, 14, 8),
                step(REDIS, How::Stop, 20, 8),
                step("node-1", How::Stop, 5, 8),
                step("gate-1", How::Kill, 8, 8),
                step(ETCD, How::Stop, 20, 8),
                step("node-2", How::Kill, 8, 8),
                step("node-3", How::Stop, 5, 8),
            ],
            Self::Long => {
                let all = GATES.into_iter().chain(NODES).chain([ETCD, REDIS]);
                let both = all.flat_map(|who| [(who, How::Kill), (who, How::Stop)]);
                both.map(|(who, how)| step(who, how, 120, 30)).collect()
            }
            Self::Roll => {
                NODES.into_iter().chain(GATES).map(|who| step(who, How::Roll, 0, 9)).collect()
            }
            // Longer than 8 s without each other clients have every right to go elsewhere, again and again.
            Self::Lines => vec![
                step(ETCD, How::Cut, 5, 8),
                step(LINKS, How::Cut, 4, 8),
                step(REDIS, How::Cut, 5, 8),
            ],
            Self::LinesLong => {
                let round = [(ETCD, 20), (LINKS, 4), (REDIS, 20), ("node-1", 20), (LINKS, 8)];
                let all = round.into_iter().cycle().take(50);
                all.map(|(who, outage)| step(who, How::Cut, outage, 10)).collect()
            }
            // The checker wants everybody served from 10 s after a fault on, and whoever is between two
            // gates is not for two seconds.
            Self::Failover => {
                vec![step("redis-1", How::Kill, 16, 11), step("redis-2", How::Stop, 16, 11)]
            }
            Self::FailoverLong => {
                // Each time its replica has the slots, which is the next to lose them.
                let round = [How::Kill, How::Stop].into_iter().flat_map(|how| {
                    REDIS_SERVERS.into_iter().map(move |who| step(who, how, 16, 11))
                });
                round.cycle().take(36).collect()
            }
            Self::Memory => {
                let turns = ["gate-1", "node-1", "node-2"].into_iter().cycle().take(25);
                turns.map(|who| step(who, How::Kill, 10, 14)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_in_ci_does_both_to_each_process_within_five_minutes() {
        let steps = Length::Ci.steps();
        let took: Duration = steps.iter().map(|step| step.outage + step.calm).sum();
        assert!(took < Duration::from_secs(288), "{took:?}");
        assert!(steps.iter().all(|step| step.calm >= Duration::from_secs(8)));
        for how in [How::Kill, How::Stop] {
            let longest = |kind: &str| {
                let hits =
                    steps.iter().filter(|step| step.how == how && step.who.starts_with(kind));
                hits.map(|step| step.outage.as_secs()).max().unwrap_or_default()
            };
            for who in GATES.into_iter().chain(NODES).chain([ETCD, REDIS]) {
                assert!(longest(who) > 0, "{how:?} {who}");
            }
            assert_eq!((longest(ETCD), longest(REDIS)), (20, 20), "{how:?}");
            // Their records in the registry stand on leases of 11 s.
            assert!(longest("gate") >= 14 && longest("node") >= 14, "{how:?}");
        }
    }

    #[test]
    fn a_gate_and_a_node_live_through_the_whole_run_for_memory() {
        let steps = Length::Memory.steps();
        let took: Duration = steps.iter().map(|step| step.outage + step.calm).sum();
        assert_eq!(took, Duration::from_secs(600));
        assert!(!steps.iter().any(|step| ["gate-2", "node-3"].contains(&step.who)));
    }

    #[test]
    fn the_lines_to_everything_are_cut_within_a_minute_and_long_runs_are_of_cuts_alone() {
        let short = Length::Lines.steps();
        let took: Duration = short.iter().map(|step| step.outage + step.calm).sum();
        assert!(took < Duration::from_secs(40), "{took:?}");
        for steps in [short, Length::LinesLong.steps()] {
            assert!(steps.iter().all(|step| step.how == How::Cut && step.calm.as_secs() >= 8));
            for who in [ETCD, REDIS, LINKS] {
                assert!(steps.iter().any(|step| step.who == who), "{who}");
            }
        }
        assert_eq!("links:cut:4:8".parse::<Step>().unwrap().who, LINKS);
    }

    #[test]
    fn a_failover_takes_a_minute_and_a_long_run_of_them_hits_every_server_both_ways() {
        let took = |steps: &[Step]| steps.iter().map(|step| step.outage + step.calm).sum();
        let (short, long) = (Length::Failover.steps(), Length::FailoverLong.steps());
        assert!(Duration::from_secs(60) > took(&short));
        assert!(Duration::from_secs(17 * 60) > took(&long));
        for (who, how) in
            REDIS_SERVERS.into_iter().flat_map(|who| [(who, How::Kill), (who, How::Stop)])
        {
            assert_eq!(long.iter().filter(|step| (step.who, step.how) == (who, how)).count(), 3);
        }
        assert!(short.iter().chain(&long).all(|step| step.outage.as_secs() >= 16));
        assert_eq!("redis-4:stop:16:8".parse::<Step>().unwrap().who, "redis-4");
    }

    #[test]
    fn a_fault_is_written_as_who_how_and_two_times() {
        let step: Step = "redis:stop:20:10".parse().unwrap();
        assert_eq!((step.who, step.how), (REDIS, How::Stop));
        assert_eq!((step.outage.as_secs(), step.calm.as_secs()), (20, 10));
        for wrong in [
            "redis",
            "links:kill:1:1",
            "redis-1:cut:1:1",
            "redis-1:roll:1:1",
            "nobody:kill:1:1",
            "redis:hit:1:1",
            "redis:kill:x:1",
        ] {
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

//! The reconciler against a model of workers that boot, die and leave at random, of an operator who is never content, and
//! of time that passes. What holds then, holds for every history.

use proptest::prelude::*;

use super::*;

/// What happens to a server, in any order; numbers choose among those to whom it can happen.
#[derive(Clone, Debug)]
enum Event {
    /// A worker that boots is Ready.
    Ready(usize),
    /// One dies before it is.
    FailsToBoot(usize),
    /// One dies that was Ready.
    Dies(usize),
    /// One that was asked to leave has left.
    Leaves(usize),
    /// A new configuration.
    Hup { workers: usize, surge: usize },
    /// One worker more is wanted.
    Ttin,
    /// One fewer.
    Ttou,
    /// One has served long enough.
    Outdated(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        10 => any::<usize>().prop_map(Event::Ready),
        1 => any::<usize>().prop_map(Event::FailsToBoot),
        1 => any::<usize>().prop_map(Event::Dies),
        4 => any::<usize>().prop_map(Event::Leaves),
        2 => (1..8_usize, 1..4_usize).prop_map(|(workers, surge)| Event::Hup { workers, surge }),
        1 => Just(Event::Ttin),
        1 => Just(Event::Ttou),
        1 => any::<usize>().prop_map(Event::Outdated),
    ]
}

/// A server as its master's tables show it: what would be processes are numbers.
struct Model {
    generations: Vec<Tally>,
    newest: u64,
    next_pid: i32,
}

impl Model {
    fn start(workers: usize) -> Model {
        let mut model = Model { generations: Vec::new(), newest: 0, next_pid: 1 };
        model.arrive(workers, 1);
        model
    }

    fn arrive(&mut self, wanted: usize, surge: usize) {
        self.newest += 1;
        let free = (0..1000).map(|slot| FreeSlot { slot, not_before: 0, bereaved: false }).collect();
        self.generations.push(Tally {
            number: self.newest,
            fate: Fate::Arriving,
            wanted,
            surge,
            peak: 0,
            booting: Vec::new(),
            ready: Vec::new(),
            outdated: Vec::new(),
            retiring: Vec::new(),
            failing: 0,
            is_held: false,
            free,
        });
    }

    fn with(&self, fate: Fate) -> Option<&Tally> {
        self.generations.iter().find(|generation| generation.fate == fate)
    }

    fn withdraw(&mut self) {
        for generation in self.generations.iter_mut().filter(|generation| generation.fate == Fate::Arriving) {
            generation.fate = Fate::Withdrawn;
        }
    }

    /// Ready, in generations that are not leaving.
    fn capacity(&self) -> usize {
        let staying = |generation: &&Tally| !matches!(generation.fate, Fate::Leaving(_));
        self.generations.iter().filter(staying).map(|generation| generation.ready.len()).sum()
    }

    fn live(&self) -> usize {
        let staying = |generation: &&Tally| !matches!(generation.fate, Fate::Leaving(_));
        self.generations.iter().filter(staying).map(Tally::live).sum()
    }

    /// How many have to be Ready.
    fn floor(&self) -> usize {
        self.with(Fate::Serving).map_or(0, |generation| generation.wanted)
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Ready(lot) => {
                self.any(
                    lot,
                    |generation| &mut generation.booting,
                    |generation, pid| generation.ready.push(pid),
                );
            }
            Event::FailsToBoot(lot) => {
                let is_start = self.with(Fate::Serving).is_none();
                let whose = self.any(lot, |generation| &mut generation.booting, |_, _| {});
                // That ends a start, and is not of interest here.
                if whose == Some(Fate::Arriving) && !is_start {
                    self.withdraw();
                }
            }
            Event::Dies(lot) => {
                self.any(
                    lot,
                    |generation| &mut generation.ready,
                    |generation, pid| {
                        generation.outdated.retain(|&outdated| outdated != pid);
                    },
                );
            }
            Event::Leaves(lot) => {
                let all = self.generations.iter_mut().filter(|generation| !generation.retiring.is_empty());
                let mut all: Vec<_> = all.collect();
                if !all.is_empty() {
                    let chosen = lot % all.len();
                    all[chosen].retiring.remove(0);
                }
            }
            Event::Hup { workers, surge } => {
                self.withdraw();
                self.arrive(workers, surge);
            }
            Event::Ttin | Event::Ttou => {
                let by = if matches!(event, Event::Ttin) { 1 } else { -1 };
                let serving = self.generations.iter_mut().find(|generation| generation.fate == Fate::Serving);
                if let Some(serving) = serving {
                    serving.wanted = serving.wanted.saturating_add_signed(by).clamp(1, 12);
                }
            }
            Event::Outdated(lot) => {
                let serving = self.generations.iter_mut().find(|generation| generation.fate == Fate::Serving);
                if let Some(serving) = serving.filter(|serving| !serving.ready.is_empty()) {
                    let pid = serving.ready[lot % serving.ready.len()];
                    if !serving.outdated.contains(&pid) {
                        serving.outdated.push(pid);
                    }
                }
            }
        }
    }

    /// Takes one out of some list of some generation, and says what that generation's fate is.
    fn any(
        &mut self,
        lot: usize,
        list: impl Fn(&mut Tally) -> &mut Vec<Pid>,
        then: impl FnOnce(&mut Tally, Pid),
    ) -> Option<Fate> {
        let all = self
            .generations
            .iter_mut()
            .filter_map(|generation| (!list(generation).is_empty()).then_some(generation));
        let mut all: Vec<&mut Tally> = all.collect();
        let count = all.len();
        let generation = all.get_mut(lot.checked_rem(count)?)?;
        let length = list(generation).len();
        let pid = list(generation).remove(lot / count % length);
        then(generation, pid);
        Some(generation.fate)
    }

    /// Takes steps until there is none to take, and looks at each.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..10_000 {
            for generation in &mut self.generations {
                generation.peak = generation.peak.max(generation.ready.len());
            }
            let step = next_step(&self.generations, 1);
            if step == Step::RestUntil(NEVER) {
                self.generations.retain(|generation| {
                    !matches!(generation.fate, Fate::Leaving(_))
                        || generation.live() + generation.retiring.len() > 0
                });
                return Ok(());
            }
            self.take(step)?;
        }
        Err(TestCaseError::fail("it takes steps for ever"))
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        let before = self.capacity();
        match step {
            Step::RestUntil(_) => {}
            Step::Spawn { generation, .. } => self.spawn(generation)?,
            Step::Retire { pid, parting } => self.retire(pid, parting)?,
            Step::Dismiss { pid } => {
                let whose = self.generations.iter_mut().find(|generation| generation.booting.contains(&pid));
                let generation = whose.expect("who is dismissed boots");
                generation.booting.retain(|&booting| booting != pid);
            }
            Step::Commit { generation } => {
                let floor = self.floor();
                let taken =
                    self.generations.iter().find(|other| other.number == generation).expect("it is there");
                prop_assert!(taken.ready.len() >= taken.wanted, "committed before all are Ready");
                prop_assert!(floor == 0 || before >= floor.min(taken.wanted));
                for other in &mut self.generations {
                    other.fate = match other.fate {
                        _ if other.number == generation => Fate::Serving,
                        Fate::Leaving(parting) => Fate::Leaving(parting),
                        Fate::Arriving | Fate::Serving | Fate::Withdrawn => Fate::Leaving(Parting::Reload),
                    };
                }
                return Ok(());
            }
            Step::Dissolve { generation } => {
                let other = self.generations.iter_mut().find(|other| other.number == generation);
                other.expect("it is there").fate = Fate::Leaving(Parting::Reload);
            }
        }
        let (after, floor) = (self.capacity(), self.floor());
        prop_assert!(
            after >= before.min(floor),
            "{step:?} leaves {after} of {before}, and {floor} are wanted"
        );
        Ok(())
    }

    fn spawn(&mut self, number: u64) -> Result<(), TestCaseError> {
        let pid = Pid::from_raw(self.next_pid);
        self.next_pid += 1;
        let arriving = self.with(Fate::Arriving);
        let wanted = self.floor().max(arriving.map_or(0, |generation| generation.wanted));
        let surge = arriving.or(self.with(Fate::Serving)).map_or(0, |generation| generation.surge);
        let generation = self.generations.iter_mut().find(|generation| generation.number == number);
        let generation = generation.expect("it is there");
        generation.booting.push(pid);
        let (fate, live, is_canary) = (generation.fate, generation.live(), generation.peak == 0);
        match fate {
            Fate::Arriving if is_canary => prop_assert_eq!(live, 1, "more than a canary"),
            Fate::Arriving => prop_assert!(self.live() <= wanted + surge, "more than there is room for"),
            // One more than wanted is somebody's successor.
            Fate::Serving => prop_assert!(live <= wanted + 1, "more than wanted"),
            Fate::Withdrawn | Fate::Leaving(_) => prop_assert!(false, "nobody boots to leave"),
        }
        Ok(())
    }

    fn retire(&mut self, pid: Pid, parting: Parting) -> Result<(), TestCaseError> {
        let has_rolled = self.with(Fate::Arriving).is_none_or(|generation| generation.peak > 0);
        let is_reloading = self.with(Fate::Arriving).is_some();
        let generation = self.generations.iter_mut().find(|generation| generation.ready.contains(&pid));
        let generation = generation.expect("who retires is Ready");
        if generation.fate == Fate::Serving {
            let is_surplus = generation.ready.len() > generation.wanted;
            prop_assert!(has_rolled || is_surplus, "an old worker leaves before the canary is Ready");
            prop_assert!(
                !is_reloading || generation.ready.len() > 1,
                "the last old one leaves before the commit"
            );
        }
        generation.ready.retain(|&ready| ready != pid);
        generation.outdated.retain(|&outdated| outdated != pid);
        generation.retiring.push((pid, parting));
        Ok(())
    }

    /// From now on only the arriving generation's workers get Ready.
    fn end_without_the_old_ones(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..1000 {
            self.settle()?;
            let arriving = self.generations.iter_mut().find(|generation| generation.fate == Fate::Arriving);
            match arriving {
                None => return Ok(()),
                Some(arriving) if arriving.booting.is_empty() => break,
                Some(arriving) => arriving.ready.push(arriving.booting.remove(0)),
            }
        }
        Err(TestCaseError::fail("the roll waits for those that it replaces"))
    }

    /// From now on everything goes well.
    fn end_well(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..1000 {
            self.settle()?;
            let quiet = self
                .generations
                .iter()
                .all(|generation| generation.booting.is_empty() && generation.retiring.is_empty());
            if quiet {
                return Ok(());
            }
            self.happen(&Event::Ready(0));
            self.happen(&Event::Leaves(0));
        }
        Err(TestCaseError::fail("it does not come to an end"))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nobody_leaves_who_is_needed_and_in_the_end_all_is_as_wanted(
        workers in 1..8_usize,
        events in prop::collection::vec(event(), 0..120),
    ) {
        let mut model = Model::start(workers);
        for event in &events {
            model.settle()?;
            model.happen(event);
        }
        model.end_well()?;
        prop_assert_eq!(model.generations.len(), 1);
        let last = &model.generations[0];
        prop_assert_eq!(last.fate, Fate::Serving);
        prop_assert_eq!(last.ready.len(), last.wanted);
        prop_assert!(last.outdated.is_empty());
    }
    #[test]
    fn a_roll_ends_although_no_old_worker_gets_ready_any_more(
        workers in 1..8_usize,
        events in prop::collection::vec(event(), 0..120),
    ) {
        let mut model = Model::start(workers);
        for event in events.iter().chain(&[Event::Hup { workers, surge: 1 }]) {
            model.settle()?;
            model.happen(event);
        }
        model.end_without_the_old_ones()?;
        prop_assert_eq!(model.with(Fate::Serving).map(|serving| serving.number), Some(model.newest));
    }
}

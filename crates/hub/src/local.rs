//! The hub inside one process: a broadcast channel.

use tokio::sync::broadcast;

use crate::{CAPACITY, Event, Hub};

/// All services of one process share one of these.
#[derive(Debug)]
pub struct LocalHub {
    sender: broadcast::Sender<Event>,
}

impl LocalHub {
    pub fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(CAPACITY),
        }
    }

    pub(crate) fn sender(&self) -> broadcast::Sender<Event> {
        self.sender.clone()
    }
}

impl Default for LocalHub {
    fn default() -> Self {
        Self::new()
    }
}

impl Hub for LocalHub {
    fn publish(&self, event: Event) {
        // An error only means that nobody listens.
        let _ = self.sender.send(event);
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::next_event;

    #[tokio::test]
    async fn every_subscriber_gets_every_event_in_order() {
        let hub = LocalHub::new();
        hub.publish(Event::PolicyChanged); // nobody listens yet: lost, no failure
        let (mut a, mut b) = (hub.subscribe(), hub.subscribe());
        hub.publish(Event::bundle_created("0x1"));
        hub.publish(Event::bundle_created("0x2"));
        for receiver in [&mut a, &mut b] {
            assert_eq!(next_event(receiver).await, Some(Event::bundle_created("0x1")));
            assert_eq!(next_event(receiver).await, Some(Event::bundle_created("0x2")));
        }
        drop(hub);
        assert_eq!(next_event(&mut a).await, None);
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_to_resync() {
        let hub = LocalHub::new();
        let mut slow = hub.subscribe();
        for n in 0..=CAPACITY {
            hub.publish(Event::bundle_created(n));
        }
        assert_eq!(next_event(&mut slow).await, Some(Event::Resync));
        assert!(matches!(next_event(&mut slow).await, Some(Event::BundleCreated { .. })));
    }
}

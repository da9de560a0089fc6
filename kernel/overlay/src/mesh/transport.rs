//! How QUIC is spoken between nodes: datagrams alone, of TCP that has a congestion control of its own.
use quinn_proto::{
    AckFrequencyConfig, ClientConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, RandomConnectionIdGenerator,
    ServerConfig, TransportConfig, VarInt,
    congestion::{Controller, ControllerFactory},
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use sampan_tls::{Credentials, CredentialsError};
use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

/// What the two ends must agree on: the datagrams' format.
const PROTOCOL: &[u8] = b"sampan-overlay/1";

/// Who says nothing for so long is away.
const IDLE: Duration = Duration::from_secs(6);
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A first guess: what is lost while a connection begins is sent again after three times that.
const FIRST_RTT: Duration = Duration::from_millis(100);

/// Bytes that may be under way: 10 Gb/s over 25 ms.
const WINDOW: u64 = 32 << 20;
/// Bytes that may wait to be sent, and to be taken.
pub(super) const WAITING: usize = 4 << 20;

/// Of what names a connection in each packet.
const CONNECTION_ID: usize = 4;

/// What QUIC adds to a packet: flags, the connection's name, a number of four bytes, the frame's type and the longest
/// length there is, and the tag of the cipher. One byte more is ours.
pub(crate) const OVERHEAD: u16 = 1 + CONNECTION_ID as u16 + 4 + 9 + 16 + 1;

/// The longest UDP payload of a path with this MTU.
pub(crate) fn payload(mtu: u16, v6: bool) -> u16 {
    mtu.saturating_sub(if v6 { 48 } else { 28 })
}

/// QUIC as a listener and as a dialler.
pub(crate) struct Transport {
    pub endpoint: Arc<EndpointConfig>,
    pub answers: Arc<ServerConfig>,
    pub asks: ClientConfig,
}

impl Transport {
    /// With paths that carry at most `longest` bytes of UDP.
    pub fn new(credentials: &Arc<Credentials>, longest: u16) -> Result<Self, CredentialsError> {
        let (asks, answers) = credentials.quic(PROTOCOL)?;
        let no_cipher = |_| rustls::Error::General("there is no cipher for QUIC's first packets".to_owned());
        let asks = QuicClientConfig::try_from(asks).map_err(no_cipher)?;
        let answers = QuicServerConfig::try_from(answers).map_err(no_cipher)?;
        let transport = Arc::new(transport(longest));
        let mut asks = ClientConfig::new(Arc::new(asks));
        asks.transport_config(transport.clone());
        let mut answers = ServerConfig::with_crypto(Arc::new(answers));
        answers.transport_config(transport).migration(true).max_incoming(1024);
        let mut endpoint = EndpointConfig::default();
        endpoint.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(CONNECTION_ID)));
        // Within these bounds it is not refused.
        let _ = endpoint.max_udp_payload_size(longest.clamp(1200, 65_527));
        Ok(Transport {
            endpoint: Arc::new(endpoint),
            answers: Arc::new(answers),
            asks,
        })
    }
}

fn transport(longest: u16) -> TransportConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery
        .upper_bound(longest.max(1200))
        .minimum_change(4)
        .interval(Duration::from_secs(120))
        .black_hole_cooldown(Duration::from_secs(10));
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements
        .ack_eliciting_threshold(VarInt::from_u32(256))
        .max_ack_delay(Some(Duration::from_millis(25)))
        // Order is TCP's matter.
        .reordering_threshold(VarInt::from_u32(0));
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(FIRST_RTT)
        .mtu_discovery_config(Some(discovery))
        .ack_frequency_config(Some(acknowledgements))
        .datagram_receive_buffer_size(Some(WAITING))
        .datagram_send_buffer_size(WAITING)
        .congestion_controller_factory(Arc::new(Unhurried))
        .allow_spin(false);
    transport
}

/// Lets the TCP inside find out what the path carries: the window is constant, and only bounds what is kept in mind.
#[derive(Clone, Debug)]
struct Unhurried;

impl ControllerFactory for Unhurried {
    fn build(self: Arc<Self>, _: Instant, _: u16) -> Box<dyn Controller> {
        Box::new(Unhurried)
    }
}

impl Controller for Unhurried {
    fn on_congestion_event(&mut self, _: Instant, _: Instant, _: bool, _: u64) {}

    fn on_mtu_update(&mut self, _: u16) {}

    fn window(&self) -> u64 {
        WINDOW
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        WINDOW
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

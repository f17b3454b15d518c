package import NIOCore

/// What a node grants its peers, and how long it waits for them.
package struct WireLimits: Sendable {
    /// Versions of the wire that are offered to peers, and taken from them.
    package var versions = WireVersion.spoken
    /// Calls outstanding on one connection; one more is answered `busy`. At most 65,536.
    package var maximumCalls = 4096
    /// Bytes that wait to be sent on one connection. A client that would exceed it gets `busy`; a server breaks with a peer that reads so slowly.
    package var maximumOutput = 128 << 20
    /// Bytes of one reply, which may take several frames: the longest page of a listing.
    package var maximumReply = 32 << 20
    /// Connections that a server holds.
    package var maximumConnections = 4096
    /// Connections of a server that have not yet shown that they know the cluster's key.
    package var maximumUnauthenticated = 64
    /// From the first byte of a connection to mutual proof, as the server sees it.
    package var handshakeTimeout = TimeAmount.seconds(5)
    /// For a connection to a server, and once more for the proof that this is one. Calls wait for both, and SYN is sent again after a second.
    package var connectTimeout = TimeAmount.milliseconds(1500)
    /// A peer that owes answers and sends nothing for so long is away, whatever the calls' deadlines: its event loops wait for no disk. Half-way it
    /// is asked whether it is there.
    package var silence = TimeAmount.milliseconds(1200)
    /// A peer that owes nothing and is silent for so long is asked whether it is there, and given up after `silentIntervals` of them.
    package var pingInterval = TimeAmount.seconds(5)
    package var silentIntervals = 3
    /// How often passed deadlines are looked for while calls are outstanding.
    package var sweepInterval = TimeAmount.milliseconds(20)
    /// A peer that could not be reached is probed after this time, then after twice as long each time, until `longestProbe`.
    package var firstProbe = TimeAmount.milliseconds(100)
    package var longestProbe = TimeAmount.seconds(3)
    /// When links are to be encrypted from now on, those in the clear take calls for so long: their peers may have to hear of it first.
    package var clearGrace = TimeAmount.seconds(30)
    /// After that, they end with their calls, and at the latest after this time.
    package var clearLimit = TimeAmount.hours(1)

    package init() {}

    /// The channel counts as writable below `lowWater` and no longer above `highWater` bytes.
    static let lowWater = 1 << 20
    static let highWater = 4 << 20
    static let smallestRead = 4 << 10
    static let largestRead = 256 << 10
}

import NIOCore

/// Whether clients are at work, by how many requests there were of late: what can wait then goes in small steps, with rests between them.
///
/// A value without a clock.
struct ClientWatch {
    /// For which a rate is taken.
    private static let period = TimeAmount.milliseconds(200)
    /// Requests per second that make a node busy.
    private static let few = 50.0
    /// A step is followed by a rest of so many times its length, at most `longestRest`.
    private static let rest: Int64 = 3
    private static let longestRest = TimeAmount.seconds(1)

    private var last: (time: NIODeadline, requests: UInt64)?
    private(set) var isBusy = false
    private var resumption = NIODeadline.uptimeNanoseconds(0)

    /// - Parameter requests: of clients, since any time.
    mutating func note(requests: UInt64, now: NIODeadline) {
        guard let last else { return self.last = (now, requests) }
        let time = now - last.time
        guard time >= Self.period else { return }
        isBusy = Double(requests - last.requests) * 1e9 / Double(time.nanoseconds) >= Self.few
        self.last = (now, requests)
    }

    /// A step has ended.
    mutating func noteStep(from begin: NIODeadline, to end: NIODeadline) {
        resumption = end + min(.nanoseconds((end - begin).nanoseconds * Self.rest), Self.longestRest)
    }

    /// How long to rest before the next step; nil: not at all.
    func rest(now: NIODeadline) -> TimeAmount? { isBusy && resumption > now ? resumption - now : nil }
}

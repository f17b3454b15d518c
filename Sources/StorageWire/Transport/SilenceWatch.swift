/// Finds out that a peer which owes answers is not there any more. Without a clock: it counts sweeps, between which everything that has come was
/// read, so that a stall of this process is never taken for one of the peer.
struct SilenceWatch {
    enum Action: Equatable {
        case wait
        /// Have the peer show that it is there.
        case askForSign
        case giveUp
    }

    private var signs: UInt = 0
    private var silentSweeps = 0

    /// - Parameters:
    ///   - signs: a number that grows with everything that comes from the peer.
    ///   - isOwing: whether it has something to answer.
    ///   - limit: sweeps without a sign after which it is given up, at least 2.
    mutating func sweep(signs: UInt, isOwing: Bool, limit: Int) -> Action {
        guard isOwing, signs == self.signs else {
            self.signs = signs
            silentSweeps = 0
            return .wait
        }
        silentSweeps += 1
        if silentSweeps >= limit { return .giveUp }
        return silentSweeps == limit / 2 ? .askForSign : .wait
    }
}

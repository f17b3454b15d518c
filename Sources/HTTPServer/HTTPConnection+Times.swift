import NIOCore

/// Since when a connection is in what it does. Times are those of the loop's last sweep: no clock is read per request.
struct ConnectionTimes {
    /// Begin of the phase, or of the idle time.
    private(set) var phaseSince = NIODeadline.uptimeNanoseconds(0)
    /// Begin of the head that is being received.
    private(set) var headSince: NIODeadline?
    /// Begin of the period in which bytes of the body must come.
    private(set) var bodySince = NIODeadline.uptimeNanoseconds(0)
    private(set) var bodyBytes = 0
    /// When the client last took a byte of the response.
    private(set) var sentSince = NIODeadline.uptimeNanoseconds(0)
    private var sentBytes = 0
    /// Whether to read on after the last response.
    var lingers = false

    mutating func begin(_ now: NIODeadline) {
        phaseSince = now
        sentSince = now
    }

    mutating func beginPhase(_ now: NIODeadline) {
        phaseSince = now
    }

    mutating func beginIdle(_ now: NIODeadline) {
        phaseSince = now
        headSince = nil
    }

    mutating func beginBody(_ now: NIODeadline) {
        headSince = nil
        bodySince = now
        bodyBytes = 0
    }

    mutating func received(_ count: Int) {
        bodyBytes += count
    }

    mutating func noteHead(isInside: Bool, _ now: NIODeadline) {
        if !isInside { headSince = nil } else if headSince == nil { headSince = now }
    }

    /// Accounts for what the client has taken; `pending` of `handedOver` bytes still wait.
    mutating func noteSent(handedOver: Int, pending: Int, _ now: NIODeadline) {
        let sent = handedOver - pending
        if pending == 0 || sent > sentBytes { sentSince = now }
        sentBytes = sent
    }

    /// Bytes the channel holds because the socket does not take them.
    func pendingBytes(_ channel: any Channel) -> Int {
        // The option is one that stream channels always have; without it nothing is known to be pending.
        (try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }
}

extension HTTPConnection {
    /// Looks whether anything has taken too long; called once per `sweepInterval`.
    func sweep() {
        guard let context else { return }
        let pending = times.pendingBytes(context.channel)
        times.noteSent(handedOver: output.handedOver, pending: pending, loop.now)
        if pending > 0 {
            if hasPassed(loop.configuration.writeTimeout, since: times.sentSince) { cut(.writeStalled) }
            return
        }
        switch phase {
        case .awaiting: sweepAwaiting()
        case .exchanging: sweepBody()
        case .draining, .lingering:
            if hasPassed(loop.configuration.drainTimeout, since: times.phaseSince) { close() }
        case .closed: break
        }
    }

    private func sweepAwaiting() {
        if let since = times.headSince {
            guard hasPassed(loop.configuration.headTimeout, since: since) else { return }
            refuse(HTTPRequestError(.requestTimeout, "The head of the request took too long."))
        } else if hasPassed(
            loop.isDraining ? loop.configuration.firstRequestTimeout : loop.configuration.idleTimeout,
            since: times.phaseSince)
        {
            closeOutput(lingers: false)
        }
    }

    private func sweepBody() {
        guard !request.isBodyEnded, !request.isPaused, hasPassed(loop.configuration.bodyTimeout, since: times.bodySince)
        else {
            return
        }
        if times.bodyBytes >= loop.configuration.bodyMinimum {
            times.beginBody(loop.now)
        } else {
            refuse(HTTPRequestError(.requestTimeout, "The body of the request took too long."), reason: .bodyTimeout)
        }
    }

    /// Both times may be up to one sweep old, so one sweep more is waited for.
    func hasPassed(_ limit: TimeAmount, since: NIODeadline) -> Bool {
        loop.now - since > limit + loop.configuration.sweepInterval
    }
}

package import Logging
package import NIOCore

/// A node reached over TCP: one multiplexed connection per event loop, made when the first call needs it.
///
/// A call never leaves its loop, which has to be one of the node's group. When the peer is known to be down, calls fail at once with `unreachable`; when a connection breaks, so do all
/// calls on it. Past its deadline a call fails with `deadline`, past `WireLimits.maximumCalls` or `maximumOutput` with `busy`.
package final class RemoteNode: StorageNode {
    private let links: [RemoteLink]

    /// - Parameters:
    ///   - host: an address or a name.
    ///   - group: the loops on which calls are made.
    package init(
        host: String, port: Int, group: any EventLoopGroup, credentials: WireCredentials,
        encryption: LinkEncryption = .whenAsked, limits: WireLimits = WireLimits(), logger: Logger
    ) {
        let peer = RemoteLink.Peer(host: host, port: port, credentials: credentials, limits: limits)
        links = group.makeIterator().map {
            RemoteLink(peer: peer, encryption: encryption, eventLoop: $0, logger: logger)
        }
    }

    @discardableResult
    package func call(
        _ request: StorageRequest, deadline: NIODeadline, on eventLoop: any EventLoop, receiver: any CallReceiver,
        tag: Int
    ) -> any StorageCall {
        for link in links where link.eventLoop === eventLoop {
            return link.call(request, deadline: deadline, receiver: receiver, tag: tag)
        }
        preconditionFailure("a call is made on a loop of the node's group")
    }

    /// Goes over to connections of that kind, without a call that fails for it.
    package func use(_ encryption: LinkEncryption) {
        for link in links { link.eventLoop.execute { link.use(encryption) } }
    }

    /// Breaks all connections; calls under way and to come fail. To be called before the loops are shut down.
    package func close() -> EventLoopFuture<Void> {
        let closed = links.map { link in link.eventLoop.submit { link.close() } }
        return EventLoopFuture.andAllComplete(closed, on: links[0].eventLoop)
    }
}

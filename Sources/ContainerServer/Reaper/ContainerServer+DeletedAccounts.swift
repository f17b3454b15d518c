import DeviceLog
package import NIOCore
import NIOPosix
package import Ring
package import StorageWire

extension ContainerServer {
    /// Deleted accounts of a device that still list containers, in the order of their hashes and from `first` on.
    ///
    /// Fails when the device can't be read; one that is not here has none.
    ///
    /// - Returns: the heads of `limit` accounts at most, and from where the next page goes on, if there may be one.
    package func deletedAccounts(
        on device: UInt16, from first: PathHash, limit: Int, eventLoop: any EventLoop
    ) -> EventLoopFuture<(accounts: [TableHead], next: PathHash?)> {
        guard let log = devices[device] else { return eventLoop.makeSucceededFuture(([], nil)) }
        return workers.runIfActive(eventLoop: eventLoop) { try log.deletedAccounts(from: first, limit: limit) }
    }
}

extension DeviceLog {
    func deletedAccounts(
        from first: PathHash, limit: Int
    ) throws(DeviceLogError) -> (accounts: [TableHead], next: PathHash?) {
        var accounts: [TableHead] = []
        var next: PathHash?
        try tables(.account, from: first, through: HashRange.all.last) { hash, info, stats in
            guard accounts.count < limit else {
                next = hash
                return false
            }
            // A head that can't be read is the auditor's; the account is found on another of its replicas.
            if stats.total.rows > 0, let info, let head = try? TableHead(decoding: info), head.isDeletedAccount {
                accounts.append(head)
            }
            return true
        }
        return (accounts, next)
    }
}

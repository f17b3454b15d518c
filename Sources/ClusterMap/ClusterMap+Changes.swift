package import Ring

extension ClusterMap {
    /// The map after a change.
    ///
    /// - Parameters:
    ///   - id: of the change; if the map has it already, nothing changes.
    ///   - now: seconds since 1970.
    /// - Throws: `MapRefusal` with what is wrong and what to do.
    package func applying(_ change: MapChange, id: String, now: Int) throws(MapRefusal) -> ChangedMap {
        let nothing = PerRing(account: 0, container: 0, object: 0)
        if recentChanges.contains(id) { return ChangedMap(map: self, moved: nothing, resting: nothing) }
        var next = self
        let mustRebalance = try next.make(change, now: now)
        next.version = version + 1
        next.usedTokens.removeAll { $0.expiry < now }
        next.recentChanges = Array((recentChanges + [id]).suffix(Limit.recentChanges))
        guard mustRebalance else { return ChangedMap(map: next, moved: nothing, resting: nothing) }
        let mayRest = next.previous != nil
        let resting = next.builders.map { mayRest ? $0.restingPartitions(now: now) : 0 }
        let moved: PerRing<Int>
        do { moved = try next.rebalance(now: now) } catch { throw MapRefusal("\(error)") }
        // While partitions rest, each has moved once at most since the previous rings, which still tell where its data was.
        let mayForget = resting.all.allSatisfy { $0 == 0 }
        if mayForget, moved.all.contains(where: { $0 > 0 }) { next.previous = rings }
        return ChangedMap(map: next, moved: moved, resting: resting)
    }

    /// - Returns: whether partitions should move.
    private mutating func make(_ change: MapChange, now: Int) throws(MapRefusal) -> Bool {
        switch change {
        case .addNode(let node, let devices, let token): return try add(node, devices, token, now: now)
        case .moveNode(let id, let host, let storagePort, let apiPort):
            try move(id, host, storagePort, apiPort)
            return false
        case .drainNode(let name):
            let index = try indexOfNode(named: name)
            nodes[index].state = .draining
            for device in devices(of: nodes[index].id) { try drain(device.id) }
        case .removeNode(let name, let force):
            let node = nodes[try indexOfNode(named: name)]
            guard nodes.count > 1 else { throw MapRefusal("\(name) is the only node of the cluster") }
            for device in devices(of: node.id) { try remove(device.id, force: force) }
            nodes.removeAll { $0.id == node.id }
        case .addDevice(let name, let device):
            let node = nodes[try indexOfNode(named: name)]
            guard node.role.hasDevices else { throw MapRefusal("\(name) is a proxy: proxies have no devices") }
            try add(device, to: node)
        case .drainDevice(let id): try drain(id)
        case .removeDevice(let id, let force): try remove(id, force: force)
        case .replaceDevice(let id, let path):
            let index = try indexOfDevice(id)
            guard devices[index].path != path else { throw MapRefusal("device \(id) is at \(path) already") }
            devices[index].path = path
            return false
        case .setWeight(let id, let weight):
            let index = try indexOfDevice(id)
            devices[index].state = .active
            devices[index].weight = weight
            try setWeight(weight, of: id)
        case .rebalance(let settled): if settled { previous = nil }
        case .settle(let version):
            guard version == self.version else {
                throw MapRefusal("the rings have changed since their data was found where it belongs")
            }
            previous = nil
        case .encryptLinks(let isOn):
            encryptsLinks = isOn
            return false
        }
        return true
    }

    // MARK: Nodes

    private mutating func add(
        _ node: MapNode, _ new: [NewDevice], _ token: UsedToken, now: Int
    ) throws(MapRefusal) -> Bool {
        guard token.expiry >= now else { throw MapRefusal("the token has expired: make another") }
        if let used = usedTokens.first(where: { $0.id == token.id }), used.node != node.id {
            throw MapRefusal("the token has been used by another node: make another")
        }
        guard self.node(node.id) == nil else { throw MapRefusal("node \(node.name) is in the cluster already") }
        if let same = nodes.first(where: { $0.name == node.name }) {
            throw MapRefusal("there is a node \(same.name) already: join with another --name")
        }
        if let same = nodes.first(where: { $0.host == node.host && $0.storagePort == node.storagePort }) {
            throw MapRefusal("node \(same.name) is at \(node.host):\(node.storagePort) already")
        }
        guard nodes.count < Limit.nodes else { throw MapRefusal("a cluster has at most \(Limit.nodes) nodes") }
        guard usedTokens.count < Limit.usedTokens else {
            throw MapRefusal("\(Limit.usedTokens) tokens were used lately: wait until some have expired")
        }
        if nodes.count == 1 { try gather(nodes[0]) }
        var node = node
        // A node that does not say where it is, is somewhere else than the others.
        if node.zone == 0 { node.zone = (nodes.filter { $0.region == node.region }.map(\.zone).max() ?? 0) + 1 }
        nodes.append(node)
        usedTokens.append(token)
        for device in new { try add(device, to: node) }
        return !new.isEmpty
    }

    /// The devices of a lone node are zones of their own; with others about, the node is one zone.
    private mutating func gather(_ node: MapNode) throws(MapRefusal) {
        for device in devices(of: node.id) { try place(device.id, node) }
    }

    private mutating func move(
        _ id: String, _ host: String, _ storagePort: Int, _ apiPort: Int
    ) throws(MapRefusal) {
        guard let index = nodes.firstIndex(where: { $0.id == id }) else {
            throw MapRefusal("this node is not in the cluster any more")
        }
        if let same = nodes.first(where: { $0.id != id && $0.host == host && $0.storagePort == storagePort }) {
            throw MapRefusal("node \(same.name) is at \(host):\(storagePort) already")
        }
        nodes[index].host = host
        nodes[index].storagePort = storagePort
        nodes[index].apiPort = apiPort
        let node = nodes[index]
        let moved = devices(of: id)
        try changeBuilders { builder throws(RingBuilderError) in
            for device in moved {
                guard let known = builder.devices[device.id] else { continue }
                try builder.place(
                    device.id, region: known.region, zone: known.zone, ip: node.host, port: node.storagePort)
            }
        }
    }

    private func indexOfNode(named name: String) throws(MapRefusal) -> Int {
        guard let index = nodes.firstIndex(where: { $0.name == name || $0.id == name }) else {
            throw MapRefusal("there is no node \(name); there are \(nodes.map(\.name).joined(separator: ", "))")
        }
        return index
    }

    // MARK: Devices

    private mutating func add(_ device: NewDevice, to node: MapNode) throws(MapRefusal) {
        guard !devices(of: node.id).contains(where: { $0.name == device.name || $0.path == device.path }) else {
            throw MapRefusal("node \(node.name) has a device \(device.name) or \(device.path) already")
        }
        guard nextDevice < Limit.devices else { throw MapRefusal("all \(Limit.devices) device ids have been used") }
        let id = nextDevice
        nextDevice += 1
        devices.append(
            MapDevice(id: id, node: node.id, name: device.name, path: device.path, weight: device.weight))
        try changeBuilders { builder throws(RingBuilderError) in
            try builder.add(
                RingDevice(
                    region: node.region, zone: node.zone, ip: node.host, port: node.storagePort, device: device.name,
                    weight: device.weight), id: id)
        }
    }

    private mutating func drain(_ id: Int) throws(MapRefusal) {
        devices[try indexOfDevice(id)].state = .draining
        try setWeight(0, of: id)
    }

    private mutating func remove(_ id: Int, force: Bool) throws(MapRefusal) {
        let index = try indexOfDevice(id)
        let held = builders.all.reduce(0) { $0 + ($1.partsByDevice.indices.contains(id) ? $1.partsByDevice[id] : 0) }
        guard force || held == 0 else {
            throw MapRefusal(
                "device \(id) (\(devices[index].name)) still has \(held) replicas of partitions: drain it first, or use "
                    + "--force if it is lost")
        }
        devices.remove(at: index)
        try changeBuilders { builder throws(RingBuilderError) in try builder.remove(id) }
    }

    private mutating func setWeight(_ weight: Double, of id: Int) throws(MapRefusal) {
        try changeBuilders { builder throws(RingBuilderError) in try builder.setWeight(weight, of: id) }
    }

    private mutating func place(_ id: Int, _ node: MapNode) throws(MapRefusal) {
        try changeBuilders { builder throws(RingBuilderError) in
            try builder.place(id, region: node.region, zone: node.zone, ip: node.host, port: node.storagePort)
        }
    }

    private func indexOfDevice(_ id: Int) throws(MapRefusal) -> Int {
        guard let index = devices.firstIndex(where: { $0.id == id }) else {
            throw MapRefusal("there is no device \(id): `ringfort device list` shows them")
        }
        return index
    }

    // MARK: Rings

    private mutating func changeBuilders(
        _ body: (inout RingBuilder) throws(RingBuilderError) -> Void
    ) throws(MapRefusal) {
        var changed = builders
        do throws(RingBuilderError) { try changed.forEach(body) } catch { throw MapRefusal("\(error)") }
        builders = changed
    }

    /// Lets one replica of a partition move (those of removed devices all at once).
    ///
    /// Data of earlier changes may still be where the previous rings say: partitions that those have moved rest for `min_part_hours`, or a
    /// majority of their replicas could be empty. When nothing is under way, every partition may move.
    private mutating func rebalance(now: Int) throws(RingBuilderError) -> PerRing<Int> {
        let isSettled = previous == nil
        func rebalance(_ builder: inout RingBuilder, seed: UInt64) throws(RingBuilderError) -> Int {
            if isSettled { builder.pretendMinPartHoursPassed() }
            return try builder.rebalance(now: now, seed: seed).movedParts
        }
        return PerRing(
            account: try rebalance(&builders.account, seed: 1),
            container: try rebalance(&builders.container, seed: 2),
            object: try rebalance(&builders.object, seed: 3))
    }
}

extension ClusterMap {
    /// The first map of a cluster: one node that has all devices of the rings.
    ///
    /// - Throws: `MapRefusal` when the three rings do not agree on their devices.
    package static func first(
        clusterID: String, node: MapNode, builders: PerRing<RingBuilder>, encryptsLinks: Bool = false
    ) throws(MapRefusal) -> ClusterMap {
        var devices: [Int: MapDevice] = [:]
        for builder in builders.all {
            for device in builder.devices.compactMap({ $0 }) {
                let known = devices[device.id]
                guard known == nil || known?.name == device.device else {
                    throw MapRefusal("device \(device.id) is \(device.device) in one ring and not in another")
                }
                devices[device.id] = MapDevice(
                    id: device.id, node: node.id, name: device.device, path: "devices/\(device.device)",
                    weight: max(known?.weight ?? 0, device.weight))
            }
        }
        for builder in builders.all where Set(builder.devices.compactMap { $0?.id }) != Set(devices.keys) {
            throw MapRefusal("the three rings do not have the same devices")
        }
        var map = ClusterMap(
            version: 1, clusterID: clusterID, nodes: [node], devices: devices.values.sorted { $0.id < $1.id },
            nextDevice: (devices.keys.max() ?? -1) + 1, builders: builders, encryptsLinks: encryptsLinks)
        try map.move(node.id, node.host, node.storagePort, node.apiPort)
        return map
    }
}

package import Ring

extension MapChange {
    /// The change as it is asked for over the wire.
    package var json: JSONValue {
        func object(_ kind: String, _ members: [JSONMember]) -> JSONValue {
            .object([JSONMember("change", .string(kind))] + members)
        }
        switch self {
        case .addNode(let node, let devices, let token):
            return object(
                "add-node",
                [
                    JSONMember("node", node.json), JSONMember("devices", .array(devices.map(\.json))),
                    JSONMember("token", .string(token.id)), JSONMember("expiry", .integer(token.expiry)),
                ])
        case .moveNode(let id, let host, let storagePort, let apiPort):
            return object(
                "move-node",
                [
                    JSONMember("id", .string(id)), JSONMember("host", .string(host)),
                    JSONMember("storage_port", .integer(storagePort)), JSONMember("api_port", .integer(apiPort)),
                ])
        case .drainNode(let name): return object("drain-node", [JSONMember("name", .string(name))])
        case .removeNode(let name, let force):
            return object("remove-node", [JSONMember("name", .string(name)), JSONMember("force", .bool(force))])
        case .addDevice(let node, let device):
            return object("add-device", [JSONMember("node", .string(node)), JSONMember("device", device.json)])
        case .drainDevice(let id): return object("drain-device", [JSONMember("id", .integer(id))])
        case .removeDevice(let id, let force):
            return object("remove-device", [JSONMember("id", .integer(id)), JSONMember("force", .bool(force))])
        case .replaceDevice(let id, let path):
            return object("replace-device", [JSONMember("id", .integer(id)), JSONMember("path", .string(path))])
        case .setWeight(let id, let weight):
            return object("set-weight", [JSONMember("id", .integer(id)), JSONMember("weight", .number(weight))])
        case .rebalance(let settled): return object("rebalance", [JSONMember("settled", .bool(settled))])
        case .settle(let version): return object("settle", [JSONMember("version", .integer(Int(clamping: version)))])
        case .encryptLinks(let isOn): return object("encrypt-links", [JSONMember("on", .bool(isOn))])
        }
    }

    /// `nil` for anything that `json` did not write.
    package init?(json: JSONValue) {
        func text(_ name: String) -> String? { json[name]?.string }
        func number(_ name: String) -> Int? { json[name]?.integer }
        let force = json["force"] == .bool(true)
        switch (text("change"), number("id")) {
        case ("add-node", _):
            guard let node = json["node"].flatMap({ MapNode(json: $0) }), let token = text("token"),
                token.utf8.count <= ClusterMap.Limit.name, let expiry = number("expiry")
            else { return nil }
            let listed = json["devices"]?.array ?? []
            let devices = listed.compactMap { NewDevice(json: $0) }
            guard devices.count == listed.count else { return nil }
            self = .addNode(node, devices: devices, token: UsedToken(id: token, expiry: expiry, node: node.id))
        case ("move-node", _):
            guard let id = text("id"), let host = text("host"), (1...ClusterMap.Limit.host).contains(host.utf8.count),
                let storagePort = number("storage_port"), (1...65_535).contains(storagePort),
                let apiPort = number("api_port"), (0...65_535).contains(apiPort)
            else { return nil }
            self = .moveNode(id: id, host: host, storagePort: storagePort, apiPort: apiPort)
        case ("drain-node", _):
            guard let name = text("name") else { return nil }
            self = .drainNode(name: name)
        case ("remove-node", _):
            guard let name = text("name") else { return nil }
            self = .removeNode(name: name, force: force)
        case ("add-device", _):
            guard let node = text("node"), let device = json["device"].flatMap({ NewDevice(json: $0) }) else {
                return nil
            }
            self = .addDevice(node: node, device)
        case ("drain-device", let id?): self = .drainDevice(id: id)
        case ("remove-device", let id?): self = .removeDevice(id: id, force: force)
        case ("replace-device", let id?):
            guard let path = text("path"), (1...ClusterMap.Limit.path).contains(path.utf8.count) else { return nil }
            self = .replaceDevice(id: id, path: path)
        case ("set-weight", let id?):
            guard let weight = json["weight"]?.double, weight >= 0, weight.isFinite else { return nil }
            self = .setWeight(id: id, weight: weight)
        case ("rebalance", _): self = .rebalance(settled: json["settled"] == .bool(true))
        case ("settle", _):
            guard let version = number("version"), version > 0 else { return nil }
            self = .settle(version: UInt64(version))
        case ("encrypt-links", _):
            guard case .bool(let isOn)? = json["on"] else { return nil }
            self = .encryptLinks(isOn)
        default: return nil
        }
    }
}

extension NewDevice {
    var json: JSONValue {
        .object([
            JSONMember("name", .string(name)), JSONMember("path", .string(path)),
            JSONMember("weight", .number(weight)),
        ])
    }

    init?(json: JSONValue) {
        guard let name = json["name"]?.string, MapNode.isName(name), let path = json["path"]?.string,
            (1...ClusterMap.Limit.path).contains(path.utf8.count), let weight = json["weight"]?.double, weight >= 0,
            weight.isFinite
        else { return nil }
        self.init(name: name, path: path, weight: weight)
    }
}

import Ring

/// Builders of clusters that tests start from.
enum Clusters {
    /// A builder with devices spread over regions, zones and nodes, all of one weight unless `weight` says otherwise.
    static func builder(
        partPower: Int, replicas: Double = 3, minPartHours: Int = 1, regions: Int = 1, zones: Int, nodes: Int = 1,
        disks: Int, weight: (Int) -> Double = { _ in 100 }
    ) throws -> RingBuilder {
        var builder = try RingBuilder(partPower: partPower, replicas: replicas, minPartHours: minPartHours)
        var number = 0
        for region in 1...regions {
            for zone in 1...zones {
                for node in 1...nodes {
                    for disk in 1...disks {
                        try builder.add(
                            device(region: region, zone: zone, node: node, disk: disk, weight: weight(number)))
                        number += 1
                    }
                }
            }
        }
        return builder
    }

    static func device(region: Int = 1, zone: Int, node: Int, disk: Int, weight: Double = 100) -> RingDevice {
        RingDevice(
            region: region, zone: zone, ip: "10.\(region).\(zone).\(node)", port: 6200, device: "sd\(disk)",
            weight: weight)
    }

    /// A cluster as one buys it: the same nodes in every zone, the same disks in every node, three replicas, enough zones or nodes.
    static func regular(_ random: inout SeededGenerator, partPower: Int) throws -> RingBuilder {
        let zones = [1, 4, 5].randomElement(using: &random)!
        return try builder(
            partPower: partPower, zones: zones, nodes: Int.random(in: zones == 1 ? 4...6 : 1...3, using: &random),
            disks: Int.random(in: 2...4, using: &random))
    }

    /// A cluster of random shape that has a device for every replica.
    static func random(_ random: inout SeededGenerator, partPower: Int) throws -> RingBuilder {
        let replicas = [1.0, 2, 2.5, 3, 3, 3, 3.25, 4, 5].randomElement(using: &random)!
        while true {
            var builder = try RingBuilder(partPower: partPower, replicas: replicas, minPartHours: 1)
            for region in 1...Int.random(in: 1...2, using: &random) {
                for zone in 1...Int.random(in: 1...4, using: &random) {
                    for node in 1...Int.random(in: 1...3, using: &random) {
                        for disk in 1...Int.random(in: 1...4, using: &random) {
                            let weight = [50.0, 100, 100, 100, 200].randomElement(using: &random)!
                            try builder.add(
                                device(region: region, zone: zone, node: node, disk: disk, weight: weight))
                        }
                    }
                }
            }
            try builder.setOverload([0, 0, 0.1, 1, 10].randomElement(using: &random)!)
            if Double(builder.devices.count) >= replicas { return builder }
        }
    }
}

extension RingBuilder {
    /// The device ids of every partition, replica by replica.
    var assignments: [[Int]] {
        let ring = ring()
        let columns = Int(ring.replicaCount.rounded(.up))
        return (0..<partitionCount).map { partition in
            (0..<columns).compactMap { ring.device(ofReplica: $0, of: partition) }
        }
    }
}

/// How many replicas of each partition changed their device.
func changes(_ before: [[Int]], _ after: [[Int]]) -> [Int] {
    zip(before, after).map { old, new in
        new.indices.count { $0 >= old.count || old[$0] != new[$0] }
    }
}

/// Small Python programs that write and read ring files by the description of the format, without OpenStack Swift's code: the release
/// in Debian 12 does not know version 2.
enum RingFileScripts {
    /// Writes `two.ring.gz`: version 2, 8 partition bits, 2.5 replicas, and as many bytes per id as the first argument says.
    static let writeVersion2 = """
        import hashlib, json, random, struct, sys, zlib
        width = int(sys.argv[1])
        random.seed(7)
        out, plain, index = bytearray(), 0, {}
        out += struct.pack('<BBBBLBB', 0x1f, 0x8b, 8, 0, 1300507380, 2, 255)
        crc = 0
        def put(data, level=9):
            global plain, crc
            deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
            out.extend(deflate.compress(data) + deflate.flush(zlib.Z_FULL_FLUSH))
            plain += len(data)
            crc = zlib.crc32(data, crc)
        put(b'R1NG' + struct.pack('>H', 2), 0)
        def section(name, data):
            data = struct.pack('>Q', len(data)) + data
            start = [len(out), plain]
            put(data)
            index[name] = start + [len(out), plain, 'sha256', hashlib.sha256(data).hexdigest()]
        devices = [{'id': i, 'region': 1, 'zone': i % 3, 'ip': '10.0.0.%d' % (i // 2), 'port': 6200, 'device': 'sd%d' % i,
                    'weight': 10.0, 'meta': 'm\\u00e9ta', 'replication_ip': '10.1.0.1', 'replication_port': 6201} for i in range(9)]
        devices[4] = None
        ids = [i for i in range(9) if i != 4]
        rows = [[random.choice(ids) for _ in range(n)] for n in (256, 256, 128)]
        section('swift/ring/metadata', json.dumps({'part_shift': 24, 'dev_id_bytes': width, 'replica_count': 2.5, 'version': 77}).encode())
        section('some/unknown/section', b'whatever')
        section('swift/ring/devices', json.dumps(devices).encode())
        section('swift/ring/assignments', b''.join(struct.pack('>' + {2: 'H', 4: 'L'}[width], i) for row in rows for i in row))
        start, compressed = plain, len(out)
        text = json.dumps(index).encode()
        put(struct.pack('>Q', len(text)) + text)
        put(struct.pack('>Q', start), 0)
        put(struct.pack('>Q', compressed), 0)
        out += b'\\x01\\x00\\x00\\xff\\xff' + struct.pack('<LL', crc, plain)
        open('two.ring.gz', 'wb').write(out)
        for row in rows: print(*row)
        """

    /// Reads version 2 from the file named by the argument, by its index and as a whole, and prints the metadata and then the rows.
    static let readVersion2 = """
        import gzip, hashlib, json, struct, sys, zlib
        raw = open(sys.argv[1], 'rb').read()
        whole = gzip.decompress(raw)
        assert whole[:6] == b'R1NG' + struct.pack('>H', 2), whole[:6]
        def at(offset):
            return zlib.decompressobj(-15).decompress(raw[offset:])
        start, = struct.unpack('>Q', at(len(raw) - 31)[:8])
        plain_start, again = struct.unpack('>QQ', whole[-16:])
        assert again == start
        def blob(data):
            length, = struct.unpack('>Q', data[:8])
            return data[8:8 + length]
        index = json.loads(blob(at(start)))
        assert index == json.loads(blob(whole[plain_start:]))
        def section(name):
            compressed, plain, compressed_end, plain_end, kind, digest = index[name]
            data = at(compressed)[:plain_end - plain]
            assert data == whole[plain:plain_end] and len(raw[compressed:compressed_end]) > 0
            assert kind == 'sha256' and hashlib.sha256(data).hexdigest() == digest
            return blob(data)
        meta = json.loads(section('swift/ring/metadata'))
        devices = json.loads(section('swift/ring/devices'))
        print(json.dumps(meta, sort_keys=True))
        print(len(devices), devices[-1]['device'])
        ids = section('swift/ring/assignments')
        width = meta['dev_id_bytes']
        print(*struct.unpack('>%d%s' % (len(ids) // width, {2: 'H', 4: 'L'}[width]), ids))
        """

    /// Writes `wide.ring.gz` of 2^17 partitions with OpenStack Swift's code, so that handoffs are searched in steps of two.
    static let writeManyPartitions = """
        import array, random
        from swift.common.ring import RingData
        random.seed(3)
        devices = [{'id': i, 'region': i % 2, 'zone': i % 5, 'ip': '10.0.0.%d' % (i // 3), 'port': 6200, 'device': 'sd%d' % i,
                    'weight': 1.0, 'meta': ''} for i in range(60)]
        rows = [array.array('H', random.choices(range(50), k=1 << 17)) for _ in range(2)]
        RingData(rows, devices, 15, version=5).save('wide.ring.gz')
        """
}

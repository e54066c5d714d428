// Requests and rings: what is carried out, what is refused, and what only a reset mends.

import { assert, suite } from '../run/suite.ts';
import { DATA, pattern, RAM_END, REQUESTS, Rig, type RigOptions, regs, TABLES } from './rig.ts';

const test = suite('virtio-blk: requests');
const ALL = 0xffffffff;
const { BLK_S_OK, BLK_S_IOERR, BLK_S_UNSUPP, BLK_T_IN, BLK_T_OUT } = regs;
const NEEDS_RESET = regs.VIRTIO_NEEDS_RESET;
const INDIRECT = regs.VIRTIO_F_INDIRECT_DESC;

const into = (address: number, bytes: number) => ({ address, bytes, write: true });
const from = (address: number, bytes: number) => ({ address, bytes });

/** Every kind of ring; in packed ones a request without a table takes as many descriptors as it has. */
const RINGS: readonly [string, RigOptions, number][] = [
  ['split', {}, 0],
  ['split, indirect', { features: [INDIRECT, 0] }, TABLES],
  [
    'packed, indirect',
    { profile: 'virtio-blk-modern', features: [INDIRECT, regs.VIRTIO_F_RING_PACKED] },
    TABLES,
  ],
  ['packed', { profile: 'virtio-blk-modern', features: [0, regs.VIRTIO_F_RING_PACKED] }, 0],
];

for (const [name, options, table] of RINGS) {
  test(`5.2.6: ${name}: data go both ways, scattered, around the ring many times`, async () => {
    const rig = await Rig.create(options);
    const { memory } = rig.machine;
    for (let round = 0; round < 150; round++) {
      const bytes = pattern(1536, round);
      memory.writeBytes(DATA, bytes, 0, 100);
      memory.writeBytes(DATA + 0x1001, bytes, 100);
      const out = [from(DATA, 100), from(DATA + 0x1001, 1436)];
      assert.is(rig.run(BLK_T_OUT, round, out, table), BLK_S_OK);
      assert.equal(rig.disk.read(round * 512, 1536), bytes);
      memory.fill(DATA, 0, 0x2000);
      const back = [into(DATA + 3, 700), into(2 ** 32 + 5, 836)];
      assert.is(rig.run(BLK_T_IN, round, back, table), BLK_S_OK);
      assert.ok(memory.equals(DATA + 3, bytes, 0, 700) && memory.equals(2 ** 32 + 5, bytes, 700));
      assert.equal(rig.used(0, table === 0 ? 4 : 1), [1, 1537]);
    }
    assert.equal(rig.machine.guard.findings(), []);
  });
}

test('5.2.6: header and status may be cut up and joined with data (ANY_LAYOUT)', async () => {
  const rig = await Rig.create();
  const { memory } = rig.machine;
  rig.disk.write(5 * 512, pattern(512, 3));
  memory.write4x32(REQUESTS, BLK_T_IN, 0, 5, 0);
  rig.add([from(REQUESTS, 3), from(REQUESTS + 3, 0), from(REQUESTS + 3, 13), into(DATA, 513)]);
  rig.notify();
  rig.machine.settle();
  assert.ok(memory.equals(DATA, pattern(512, 3)));
  assert.is(memory.read8(DATA + 512), BLK_S_OK);
  assert.equal(rig.used(), [513]);
});

test('5.2.6: GET_ID, FLUSH, and types that nobody knows', async () => {
  const rig = await Rig.create({ features: [regs.VIRTIO_BLK_F_FLUSH, 0] });
  assert.is(rig.run(regs.BLK_T_GET_ID, 0, [into(DATA, 20)]), BLK_S_OK);
  assert.is(String.fromCharCode(...rig.machine.memory.readBytes(DATA, 11)), 'BP00000001\0');
  assert.is(rig.run(regs.BLK_T_FLUSH, 0), BLK_S_OK);
  assert.is(rig.disk.counters.flushes, 1);
  for (const type of [2, 3, 10, 14, 0x12345678]) assert.is(rig.run(type, 0), BLK_S_UNSUPP);
  assert.is(rig.run(regs.BLK_T_DISCARD, 0, [from(DATA, 16)]), BLK_S_UNSUPP, 'not accepted');
  rig.start();
  assert.is(rig.run(regs.BLK_T_FLUSH, 0), BLK_S_UNSUPP);
});

test('5.2.6: DISCARD and WRITE_ZEROES of several ranges, checked as a whole', async () => {
  const rig = await Rig.create({ features: [ALL, 0], parameters: { discardSectors: 64 } });
  const { memory } = rig.machine;
  const ranges = (...list: [number, number, number][]) => {
    for (const [i, [sector, sectors, flags]] of list.entries())
      memory.write4x32(DATA + 16 * i, sector, 0, sectors, flags);
    return [from(DATA, 16 * list.length)];
  };
  rig.disk.write(0, pattern(65536, 1));
  assert.is(rig.run(regs.BLK_T_DISCARD, 0, ranges([0, 2, 0], [8, 1, 0])), BLK_S_OK);
  assert.equal(rig.disk.read(0, 1024), new Uint8Array(1024));
  assert.equal(rig.disk.read(1024, 512), pattern(65536, 1).subarray(1024, 1536));
  assert.equal(rig.disk.read(4096, 512), new Uint8Array(512));
  assert.is(rig.run(regs.BLK_T_WRITE_ZEROES, 0, ranges([20, 1, 0], [22, 1, 1])), BLK_S_OK);
  assert.equal(rig.disk.read(20 * 512, 512), new Uint8Array(512));
  const bad: [number, [number, number, number], number][] = [
    [regs.BLK_T_DISCARD, [30, 1, 1], BLK_S_UNSUPP],
    [regs.BLK_T_WRITE_ZEROES, [30, 1, 2], BLK_S_UNSUPP],
    [regs.BLK_T_DISCARD, [30, 65, 0], BLK_S_IOERR],
    [regs.BLK_T_WRITE_ZEROES, [2048, 1, 0], BLK_S_IOERR],
  ];
  for (const [type, range, status] of bad) assert.is(rig.run(type, 0, ranges([40, 1, 0], range)), status);
  assert.not.equal(rig.disk.read(40 * 512, 512), new Uint8Array(512));
  assert.is(rig.run(regs.BLK_T_DISCARD, 0, [from(DATA, 17)]), BLK_S_IOERR);
  assert.is(rig.run(regs.BLK_T_DISCARD, 0, [from(DATA, 33 * 16)]), BLK_S_IOERR);
});

test('5.2.6: bad lengths, ranges and directions are errors of the request', async () => {
  const rig = await Rig.create();
  const refused: [number, number, ReturnType<typeof from>[]][] = [
    [BLK_T_IN, 0, [into(DATA, 511)]],
    [BLK_T_IN, 2048, [into(DATA, 512)]],
    [BLK_T_IN, 2047, [into(DATA, 1024)]],
    [BLK_T_IN, 2 ** 52, [into(DATA, 512)]],
    [BLK_T_IN, 0, [from(DATA, 512)]],
    [BLK_T_OUT, 0, [into(DATA, 512)]],
    [BLK_T_OUT, 0, [from(DATA, 5)]],
    [regs.BLK_T_GET_ID, 0, []],
  ];
  for (const [type, sector, data] of refused) assert.is(rig.run(type, sector, data), BLK_S_IOERR);
  assert.is(rig.status & NEEDS_RESET, 0);
  // A header that is too short, but a place for the status.
  rig.add([from(REQUESTS, 15), into(REQUESTS + 40, 1)]);
  rig.notify();
  rig.machine.settle();
  assert.is(rig.machine.memory.read8(REQUESTS + 40), BLK_S_IOERR);
});

test('5.2.6: blocks of 4096 bytes are moved whole', async () => {
  const rig = await Rig.create({ disk: { sectorBytes: 4096 } });
  assert.is(rig.run(BLK_T_IN, 8, [into(DATA, 4096)]), BLK_S_OK);
  assert.is(rig.run(BLK_T_IN, 7, [into(DATA, 4096)]), BLK_S_IOERR);
  assert.is(rig.run(BLK_T_IN, 8, [into(DATA, 2048)]), BLK_S_IOERR);
});

test('5.2.6: a read-only disk fails what writes', async () => {
  const rig = await Rig.create({ disk: { readOnly: true } });
  assert.is(rig.run(BLK_T_OUT, 0, [from(DATA, 512)]), BLK_S_IOERR);
});

test('5.2.3: more segments than seg_max, or longer ones than size_max, are refused', async () => {
  const one = await Rig.create({ profile: 'virtio-blk-segmax1' });
  assert.is(one.run(BLK_T_IN, 0, [into(DATA, 1024)]), BLK_S_OK);
  assert.is(one.run(BLK_T_IN, 0, [into(DATA, 512), into(DATA + 512, 512)]), BLK_S_IOERR);
  const short = await Rig.create({ profile: 'virtio-blk-sizemax4096' });
  assert.is(short.run(BLK_T_IN, 0, [into(DATA, 4096), into(DATA + 8192, 4096)]), BLK_S_OK);
  assert.is(short.run(BLK_T_IN, 0, [into(DATA, 4608)]), BLK_S_IOERR);
});

test('5.2.6.2: without a write-back cache, writes are flushed before they end', async () => {
  const rig = await Rig.create({ features: [regs.VIRTIO_BLK_F_CONFIG_WCE | regs.VIRTIO_BLK_F_FLUSH, 0] });
  rig.run(BLK_T_OUT, 0, [from(DATA, 512)]);
  assert.is(rig.disk.counters.flushes, 0);
  rig.write(regs.VIRTIO_AT_CONFIG + regs.BLK_WRITEBACK, 1, 0);
  assert.is(rig.run(BLK_T_OUT, 0, [from(DATA, 512)]), BLK_S_OK);
  assert.is(rig.disk.counters.flushes, 1);
  rig.start();
  rig.run(BLK_T_OUT, 0, [from(DATA, 512)]);
  assert.is(rig.disk.counters.flushes, 2);
});

test('a medium that fails, and data where no RAM is, end as IOERR', async () => {
  const rig = await Rig.create();
  rig.machine.addFault({ disk: rig.disk, kind: 'error', operations: ['read'], first: 7, last: 7 });
  assert.is(rig.run(BLK_T_IN, 7, [into(DATA, 512)]), BLK_S_IOERR);
  assert.is(rig.run(BLK_T_IN, 0, [into(RAM_END - 256, 512)]), BLK_S_IOERR);
  const before = rig.disk.read(0, 512);
  assert.is(rig.run(BLK_T_OUT, 0, [from(RAM_END - 256, 512)]), BLK_S_IOERR);
  assert.equal(rig.disk.read(0, 512), before);
  assert.equal(rig.used(), [0, 0, 1]);
  assert.ok(rig.machine.guard.findings().every(({ rule }) => rule === 'dev-hole'));
  assert.is(rig.status & NEEDS_RESET, 0);
});

test('2.7.5.3.2: the write flag of what names an indirect table is ignored, and direct descriptors may precede it', async () => {
  const rig = await Rig.create({ features: [INDIRECT, 0] });
  const { memory } = rig.machine;
  rig.disk.write(512, pattern(512, 9));
  memory.write4x32(REQUESTS, BLK_T_IN, 0, 1, 0);
  memory.write4x32(TABLES, DATA, 0, 513, regs.DESC_F_WRITE);
  rig.add([from(REQUESTS, 16), { ...from(TABLES, 16), flags: regs.DESC_F_INDIRECT | regs.DESC_F_WRITE }]);
  rig.notify();
  rig.machine.settle();
  assert.ok(memory.equals(DATA, pattern(512, 9)));
  assert.is(memory.read8(DATA + 512), BLK_S_OK);
});

test('a disk that is taken away fails what it was asked for', async () => {
  const rig = await Rig.create({ disk: { latencyNs: 1000 } });
  const status = rig.request(BLK_T_IN, 0, [into(DATA, 512)]);
  rig.notify();
  rig.controller.detachDisk(0);
  rig.machine.settle();
  assert.is(rig.machine.memory.read8(status), BLK_S_IOERR);
  assert.equal(rig.used(), [0]);
});

test('address lines beyond the board are not driven', async () => {
  const rig = await Rig.create({ addressBits: 32 });
  rig.disk.write(0, pattern(512, 4));
  assert.is(rig.run(BLK_T_IN, 0, [into(2 ** 32 + DATA, 512)]), BLK_S_OK);
  assert.ok(rig.machine.memory.equals(DATA, pattern(512, 4)));
  assert.is(rig.machine.guard.findings()[0]?.rule, 'dev-truncated');
});

interface Mistake {
  readonly name: string;
  readonly features?: readonly [number, number];
  readonly profile?: string;
  readonly make: (rig: Rig) => void;
  readonly loop?: boolean;
}

const header = from(REQUESTS, 16);
const MISTAKES: readonly Mistake[] = [
  {
    name: 'a chain that loops',
    make: (rig) => rig.add([header, { ...from(DATA, 1), flags: 1, next: 0 }]),
    loop: true,
  },
  {
    name: 'a descriptor behind the table',
    make: (rig) => rig.add([{ ...header, next: 128 }, into(DATA, 1)]),
  },
  { name: 'a head behind the table', make: (rig) => rig.makeAvailable(128) },
  {
    name: 'more entries than the ring has',
    make: (rig) => rig.machine.memory.write16(rig.driver() + 2, 129),
  },
  { name: 'writable before readable', make: (rig) => rig.add([into(DATA, 1), header]) },
  { name: 'no place for the status', make: (rig) => rig.add([header, from(DATA, 512)]) },
  { name: 'nothing at all', make: (rig) => rig.add([into(DATA, 0)]) },
  { name: 'indirect without the feature', make: (rig) => rig.add([header, into(DATA, 1)], 0, TABLES) },
  {
    name: 'indirect in indirect',
    features: [INDIRECT, 0],
    make: (rig) => rig.add([header, { ...into(TABLES, 16), flags: 4 }], 0, TABLES),
  },
  {
    name: 'an indirect table of odd length',
    features: [INDIRECT, 0],
    make: (rig) => rig.add([{ ...from(TABLES, 17), flags: 4 }]),
  },
  {
    name: 'indirect with a successor',
    features: [INDIRECT, 0],
    make: (rig) => rig.add([{ ...from(TABLES, 16), flags: 5 }, into(DATA, 1)]),
  },
  {
    name: 'an indirect table where no RAM is',
    features: [INDIRECT, 0],
    make: (rig) => rig.add([{ ...from(RAM_END, 32), flags: 4 }]),
  },
  {
    name: 'an indirect table that loops',
    features: [INDIRECT, 0],
    make: (rig) => rig.add([header, { ...into(DATA, 1), flags: 3, next: 1 }], 0, TABLES),
    loop: true,
  },
  {
    name: 'a packed chain without an end',
    profile: 'virtio-blk-modern',
    features: [0, regs.VIRTIO_F_RING_PACKED],
    make: (rig) => rig.add(new Array(128).fill({ ...from(DATA, 0), flags: 1 })),
    loop: true,
  },
];

for (const { name, features, profile, make, loop } of MISTAKES) {
  test(`2.1.2: ${name}: the device needs a reset, and works after one`, async () => {
    const rig = await Rig.create({ ...(features && { features }), ...(profile && { profile }) });
    make(rig);
    rig.notify();
    rig.machine.settle();
    assert.is(rig.status & NEEDS_RESET, NEEDS_RESET);
    assert.is(rig.isr(), regs.VIRTIO_ISR_CONFIG | regs.VIRTIO_ISR_QUEUE);
    assert.equal(rig.used(), []);
    const rules = rig.machine.guard.findings().map(({ rule }) => rule);
    assert.is(rules.includes('desc-loop'), loop === true);
    rig.start();
    assert.is(rig.run(BLK_T_IN, 0, [into(DATA, 512)]), BLK_S_OK);
  });
}

test('2.7.7: one interrupt for a batch, none where the driver wants none', async () => {
  const rig = await Rig.create();
  for (let i = 0; i < 40; i++) rig.request(BLK_T_IN, i, [into(DATA + 512 * i, 512)]);
  rig.notify();
  rig.machine.settle();
  assert.is(rig.used().length, 40);
  assert.is(rig.controller.counters.interrupts, 1);
  rig.isr();
  rig.machine.memory.write16(rig.driver(), regs.AVAIL_F_NO_INTERRUPT);
  rig.run(BLK_T_IN, 0, [into(DATA, 512)]);
  assert.not(rig.line);
});

test('2.7.10: event indexes say when to interrupt and when to notify', async () => {
  const rig = await Rig.create({ features: [regs.VIRTIO_F_EVENT_IDX, 0] });
  const { memory } = rig.machine;
  memory.write16(rig.driver() + 4 + 2 * 128, 2);
  for (let i = 0; i < 2; i++) rig.run(BLK_T_IN, 0, [into(DATA, 512)]);
  assert.not(rig.line);
  rig.run(BLK_T_IN, 0, [into(DATA, 512)]);
  assert.ok(rig.line);
  assert.is(memory.read16(rig.device() + 4 + 8 * 128), 3);
});

test('2.8.10: event suppression of packed rings', async () => {
  const features = [INDIRECT | regs.VIRTIO_F_EVENT_IDX, regs.VIRTIO_F_RING_PACKED] as const;
  const rig = await Rig.create({ profile: 'virtio-blk-modern', features });
  const { memory } = rig.machine;
  const event = rig.desc() + 16 * 128;
  const read = () => rig.run(BLK_T_IN, 0, [into(DATA, 512)], TABLES);
  memory.write32(event, regs.EVENT_DISABLE << 16);
  read();
  assert.not(rig.line);
  memory.write32(event, 0x8000 | 2 | (regs.EVENT_DESC << 16));
  read();
  assert.not(rig.line);
  read();
  assert.ok(rig.line);
  const own = rig.device();
  assert.equal([memory.read16(own), memory.read16(own + 2)], [0x8003, regs.EVENT_DESC]);
  rig.isr();
  memory.write32(event, 0);
  read();
  assert.ok(rig.line);
});

test('more requests than the device holds wait in the ring', async () => {
  const rig = await Rig.create({
    parameters: { queueSize: 1024 },
    disk: { latencyNs: 1000 },
    features: [INDIRECT | regs.VIRTIO_F_EVENT_IDX, 0],
  });
  const statuses = Array.from({ length: 1000 }, (_, i) =>
    rig.request(BLK_T_IN, i, [into(DATA, 512)], 0, TABLES + 48 * i),
  );
  rig.notify();
  rig.machine.settle();
  assert.ok(statuses.every((at) => rig.machine.memory.read8(at) === BLK_S_OK));
  assert.is(rig.used().length, 1000);
});

test('2.1: every queue has a vector and a doorbell of its own', async () => {
  const rig = await Rig.create({ profile: 'virtio-blk-modern' });
  for (let i = 0; i < 5; i++) {
    rig.controller.write32(1, 16 * i, 0xfee00000);
    rig.controller.write32(1, 16 * i + 8, 0x40 + i);
    rig.controller.write32(1, 16 * i + 12, 0);
  }
  rig.controller.configWrite(regs.VIRTIO_CAP_AT_MSIX + 2, 2, 0x8000);
  for (let queue = 3; queue >= 0; queue--) {
    rig.write(regs.VIRTIO_QUEUE_SELECT, 2, queue);
    rig.write(regs.VIRTIO_QUEUE_VECTOR, 2, queue + 1);
    const status = rig.request(BLK_T_IN, 0, [into(DATA, 512)], queue);
    rig.notify(queue);
    rig.machine.settle();
    assert.is(rig.machine.memory.read8(status), BLK_S_OK);
    assert.is(rig.machine.takeMsi(), 0x41 + queue);
    assert.is(rig.used(queue).length, 1);
  }
});

test('a reset in the middle: nothing ends any more, and the next requests do', async () => {
  const rig = await Rig.create({ disk: { latencyNs: 1000 } });
  const status = rig.request(BLK_T_IN, 0, [into(DATA, 512)]);
  rig.notify();
  rig.status = 0;
  rig.machine.settle();
  assert.is(rig.machine.memory.read8(status), 0xff);
  assert.is(rig.machine.memory.read16(rig.device() + 2), 0);
  assert.not(rig.line);
  rig.start();
  assert.is(rig.run(BLK_T_IN, 0, [into(DATA, 512)]), BLK_S_OK);
});

test('bus mastering off: nothing is fetched, and the device needs a reset', async () => {
  const rig = await Rig.create();
  rig.request(BLK_T_IN, 0, [into(DATA, 512)]);
  rig.controller.configWrite(4, 2, 3);
  rig.notify();
  assert.is(rig.status & NEEDS_RESET, NEEDS_RESET);
  assert.is(rig.machine.guard.findings()[0]?.rule, 'dev-nomaster');
});

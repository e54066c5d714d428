// What stock software does, step by step: the public device tests over both interfaces, SeaBIOS's polled requests,
// and the probing of Linux's virtio_pci and virtio_blk.

import { PCI_MSIX_ENABLE } from '../../assembly/bus/pci-regs.ts';
import { assert, suite } from '../run/suite.ts';
import { DATA, Rig, regs } from './rig.ts';

const test = suite('virtio-blk: stock software');

const SECTORS = 2048;
const MESSAGE = 0x12345678;
const [CONFIG_MESSAGE_AT, QUEUE_MESSAGE_AT] = [0x300000, 0x300040];
const STARTED = regs.VIRTIO_ACKNOWLEDGE | regs.VIRTIO_DRIVER;
const MSIX_FLAGS = regs.VIRTIO_CAP_AT_MSIX + 2;

type Interface = 'legacy' | 'modern';

interface Part {
  readonly at: number;
  readonly bytes: number;
  readonly write?: boolean;
}

/** A driver that uses descriptors one after the other and takes used buffers one at a time. */
class Tester {
  readonly rig: Rig;
  readonly kind: Interface;
  #msix = false;
  #desc = 0;
  #size = 0;
  #free = 0;
  #used = 0;

  constructor(rig: Rig, kind: Interface) {
    this.rig = rig;
    this.kind = kind;
  }

  get #legacy(): boolean {
    return this.kind === 'legacy';
  }
  get avail(): number {
    return this.#desc + 16 * this.#size;
  }
  /** Where the driver says behind which used buffer it wants an interrupt. */
  get usedEvent(): number {
    return this.avail + 4 + 2 * this.#size;
  }
  get usedRing(): number {
    return Math.ceil((this.avail + 6 + 2 * this.#size) / 4096) * 4096;
  }

  get status(): number {
    return this.#legacy ? this.rig.controller.read8(0, regs.LEGACY_STATUS) : this.rig.status;
  }
  addStatus(bits: number): void {
    const wanted = this.status | bits;
    if (this.#legacy) this.rig.controller.write8(0, regs.LEGACY_STATUS, wanted);
    else this.rig.status = wanted;
    assert.is(this.status, wanted);
  }

  reset(): void {
    if (this.#legacy) this.rig.controller.write8(0, regs.LEGACY_STATUS, 0);
    else this.rig.status = 0;
    assert.is(this.status, 0);
    this.addStatus(regs.VIRTIO_ACKNOWLEDGE);
    this.addStatus(regs.VIRTIO_DRIVER);
  }

  /** Everything that is offered but `without`; word 0 of what the device kept. */
  negotiate(without: number): number {
    const { rig } = this;
    if (this.#legacy) {
      rig.controller.write32(0, regs.LEGACY_DRIVER_FEATURES, rig.controller.read32(0, 0) & ~without);
      return rig.controller.read32(0, regs.LEGACY_DRIVER_FEATURES);
    }
    const offered = [rig.offered(0) & ~without, rig.offered(1)];
    for (const [word, bits] of offered.entries()) {
      rig.write(regs.VIRTIO_DRIVER_FEATURE_SELECT, 4, word);
      rig.write(regs.VIRTIO_DRIVER_FEATURE, 4, bits);
    }
    this.addStatus(regs.VIRTIO_FEATURES_OK);
    return offered[0] as number;
  }

  capacity(): number {
    const { controller } = this.rig;
    if (!this.#legacy) return this.rig.config(regs.BLK_CAPACITY);
    return controller.read32(0, this.#msix ? regs.LEGACY_CONFIG_MSIX : regs.LEGACY_CONFIG_VECTOR);
  }

  /** Queue 0 at 64 KiB, selected by one byte in the legacy interface. */
  place(): void {
    const { rig } = this;
    const { controller } = rig;
    if (this.#legacy) controller.write8(0, regs.LEGACY_QUEUE_SELECT, 0);
    else rig.write(regs.VIRTIO_QUEUE_SELECT, 2, 0);
    this.#size = this.#legacy
      ? controller.read16(0, regs.LEGACY_QUEUE_SIZE)
      : rig.read(regs.VIRTIO_QUEUE_SIZE, 2);
    assert.ok(this.#size > 0 && (this.#size & (this.#size - 1)) === 0);
    this.#desc = 0x10000;
    this.#free = 0;
    this.#used = 0;
    rig.machine.memory.fill(this.#desc, 0, 0x8000);
    if (this.#legacy) {
      controller.write32(0, regs.LEGACY_QUEUE_ADDRESS, this.#desc / 4096);
      return;
    }
    for (const [field, at] of [
      [regs.VIRTIO_QUEUE_DESC, this.#desc],
      [regs.VIRTIO_QUEUE_DRIVER, this.avail],
      [regs.VIRTIO_QUEUE_DEVICE, this.usedRing],
    ] as const) {
      rig.write(field, 4, at);
      rig.write(field + 4, 4, 0);
    }
    assert.is(rig.read(regs.VIRTIO_QUEUE_NOTIFY_OFF, 2), 0);
    rig.write(regs.VIRTIO_QUEUE_ENABLE, 2, 1);
  }

  begin(without: number): number {
    this.reset();
    const features = this.negotiate(without);
    assert.is(this.capacity(), SECTORS);
    this.place();
    this.addStatus(regs.VIRTIO_DRIVER_OK);
    return features;
  }

  /** MSI-X on, and entry `i` sends `MESSAGE` to a dword of RAM. */
  openMessages(): void {
    const { controller } = this.rig;
    controller.configWrite(MSIX_FLAGS, 2, controller.configRead(MSIX_FLAGS, 2) | PCI_MSIX_ENABLE);
    this.#msix = true;
    for (const [i, at] of [CONFIG_MESSAGE_AT, QUEUE_MESSAGE_AT].entries()) {
      controller.write32(1, 16 * i, at);
      controller.write32(1, 16 * i + 4, 0);
      controller.write32(1, 16 * i + 8, MESSAGE);
      controller.write32(1, 16 * i + 12, controller.read32(1, 16 * i + 12) & ~1);
    }
  }

  setVector(legacy: number, modern: number, vector: number): void {
    const { controller } = this.rig;
    if (this.#legacy) {
      controller.write16(0, legacy, vector);
      assert.is(controller.read16(0, legacy), vector);
    } else {
      this.rig.write(modern, 2, vector);
      assert.is(this.rig.read(modern, 2), vector);
    }
  }

  /** Whether an interrupt of that kind came since the last call. */
  interrupted(bit: number): boolean {
    const { memory } = this.rig.machine;
    if (this.#msix) {
      const at = bit === regs.VIRTIO_ISR_QUEUE ? QUEUE_MESSAGE_AT : CONFIG_MESSAGE_AT;
      if (memory.read32(at) !== MESSAGE) return false;
      memory.write32(at, 0);
      return true;
    }
    const isr = this.#legacy ? this.rig.controller.read8(0, regs.LEGACY_ISR) : this.rig.isr();
    return (isr & bit) !== 0;
  }

  /** Chains descriptors behind those of before; the head. */
  chain(parts: readonly Part[]): number {
    const head = this.#free;
    for (const [i, part] of parts.entries()) {
      const flags =
        (i < parts.length - 1 ? regs.DESC_F_NEXT : 0) | (part.write === true ? regs.DESC_F_WRITE : 0);
      this.#descriptor(this.#desc, this.#free, part, flags);
      this.#free++;
    }
    return head;
  }

  indirect(table: number, parts: readonly Part[]): number {
    for (const [i, part] of parts.entries()) {
      const flags =
        (i < parts.length - 1 ? regs.DESC_F_NEXT : 0) | (part.write === true ? regs.DESC_F_WRITE : 0);
      this.#descriptor(table, i, part, flags);
    }
    this.#descriptor(this.#desc, this.#free, { at: table, bytes: 16 * parts.length }, regs.DESC_F_INDIRECT);
    return this.#free++;
  }

  #descriptor(table: number, i: number, part: Part, flags: number): void {
    this.rig.machine.memory.write4x32(table + 16 * i, part.at, 0, part.bytes, flags | ((i + 1) << 16));
  }

  kick(head: number, events = false): void {
    const { memory } = this.rig.machine;
    const index = memory.read16(this.avail + 2);
    memory.write16(this.avail + 4 + 2 * (index % this.#size), head);
    memory.write16(this.avail + 2, index + 1);
    if (events) assert.is(memory.read16(this.usedRing + 4 + 8 * this.#size), index, 'wants to be told');
    if (this.#legacy) this.rig.controller.write16(0, regs.LEGACY_QUEUE_NOTIFY, 0);
    else this.rig.write(regs.VIRTIO_AT_NOTIFY, 2, 0);
    this.rig.machine.settle();
  }

  /** The head of the next used buffer, −1: none. */
  take(): number {
    const { memory } = this.rig.machine;
    if (memory.read16(this.usedRing + 2) === this.#used) return -1;
    return memory.read32(this.usedRing + 4 + 8 * (this.#used++ % this.#size));
  }

  /** A request as the device tests lay it out: header, data and status in one run of bytes. */
  lay(type: number, sector: number, data: Uint8Array): number {
    const { memory } = this.rig.machine;
    memory.write4x32(DATA, type, 1, sector, 0);
    memory.writeBytes(DATA + 16, data);
    memory.write8(DATA + 16 + data.length, 0xff);
    return DATA + 16 + data.length;
  }

  /** One request of header, data and status, until its interrupt; its status. */
  request(type: number, sector: number, data: Uint8Array): number {
    const status = this.lay(type, sector, data);
    const middle = { at: DATA + 16, bytes: data.length, write: type === regs.BLK_T_IN };
    const head = this.chain([{ at: DATA, bytes: 16 }, middle, { at: status, bytes: 1, write: true }]);
    this.kick(head);
    assert.ok(this.interrupted(regs.VIRTIO_ISR_QUEUE));
    assert.is(this.take(), head);
    return this.rig.machine.memory.read8(status);
  }
}

const NEITHER = regs.VIRTIO_F_INDIRECT_DESC | regs.VIRTIO_F_EVENT_IDX;

function bytes(text: string, length = 512): Uint8Array {
  const block = new Uint8Array(length);
  block.set(new TextEncoder().encode(text));
  return block;
}

function range(sector: number, sectors: number): Uint8Array {
  const entry = new DataView(new ArrayBuffer(16));
  entry.setUint32(0, sector, true);
  entry.setUint32(8, sectors, true);
  return new Uint8Array(entry.buffer);
}

async function tester(kind: Interface): Promise<Tester> {
  return new Tester(await Rig.create({ cold: true }), kind);
}

for (const kind of ['legacy', 'modern'] as const) {
  test(`device tests, ${kind}: three descriptors, ranges, two descriptors`, async () => {
    const t = await tester(kind);
    const { memory } = t.rig.machine;
    const features = t.begin(NEITHER);
    assert.is(t.request(regs.BLK_T_OUT, 0, bytes('TEST')), 0);
    assert.is(t.request(regs.BLK_T_IN, 0, bytes('')), 0);
    assert.ok(memory.equals(DATA + 16, bytes('TEST')));
    assert.ok(
      (features & regs.VIRTIO_BLK_F_WRITE_ZEROES) !== 0 && (features & regs.VIRTIO_BLK_F_DISCARD) !== 0,
    );
    assert.is(t.request(regs.BLK_T_WRITE_ZEROES, 0, range(0, 1)), 0);
    assert.is(t.request(regs.BLK_T_IN, 0, bytes('OLD')), 0);
    assert.ok(memory.equals(DATA + 16, bytes('')));
    assert.is(t.request(regs.BLK_T_DISCARD, 0, range(0, 1)), 0);
    assert.is((features & regs.VIRTIO_F_ANY_LAYOUT) !== 0, kind === 'legacy', 'what was accepted reads back');
    let status = t.lay(regs.BLK_T_OUT, 1, bytes('TEST'));
    t.kick(
      t.chain([
        { at: DATA, bytes: 528 },
        { at: status, bytes: 1, write: true },
      ]),
    );
    assert.is(memory.read8(status), 0);
    status = t.lay(regs.BLK_T_IN, 1, bytes(''));
    t.kick(
      t.chain([
        { at: DATA, bytes: 16 },
        { at: DATA + 16, bytes: 513, write: true },
      ]),
    );
    assert.is(memory.read8(status), 0);
    assert.ok(memory.equals(DATA + 16, bytes('TEST')));
  });

  test(`device tests, ${kind}: two descriptors in an indirect table`, async () => {
    const t = await tester(kind);
    const { memory } = t.rig.machine;
    assert.ok((t.begin(regs.VIRTIO_F_EVENT_IDX) & regs.VIRTIO_F_INDIRECT_DESC) !== 0);
    let status = t.lay(regs.BLK_T_OUT, 0, bytes('TEST'));
    t.kick(
      t.indirect(0x280000, [
        { at: DATA, bytes: 528 },
        { at: status, bytes: 1, write: true },
      ]),
    );
    assert.ok(t.interrupted(regs.VIRTIO_ISR_QUEUE));
    assert.equal([t.take(), memory.read8(status)], [0, 0]);
    status = t.lay(regs.BLK_T_IN, 0, bytes(''));
    t.kick(
      t.indirect(0x280000, [
        { at: DATA, bytes: 16 },
        { at: DATA + 16, bytes: 513, write: true },
      ]),
    );
    assert.ok(t.interrupted(regs.VIRTIO_ISR_QUEUE));
    assert.equal([t.take(), memory.read8(status)], [1, 0]);
    assert.ok(memory.equals(DATA + 16, bytes('TEST')));
  });

  test(`device tests, ${kind}: another size is seen by drivers that wait for either bit`, async () => {
    const t = await tester(kind);
    t.begin(NEITHER);
    assert.is(t.request(regs.BLK_T_OUT, 0, bytes('TEST')), 0);
    for (const [bit, sectors] of [
      [regs.VIRTIO_ISR_QUEUE, SECTORS / 2],
      [regs.VIRTIO_ISR_CONFIG, SECTORS / 4],
    ] as const) {
      t.rig.disk.resize(512 * sectors);
      t.rig.machine.settle();
      assert.ok(t.interrupted(bit));
      assert.is(t.capacity(), sectors);
    }
  });

  test(`device tests, ${kind}: messages into RAM, for the configuration and the queue`, async () => {
    const t = await tester(kind);
    t.reset();
    t.openMessages();
    t.setVector(regs.LEGACY_CONFIG_VECTOR, regs.VIRTIO_CONFIG_VECTOR, 0);
    t.negotiate(NEITHER);
    assert.is(t.capacity(), SECTORS);
    t.place();
    t.setVector(regs.LEGACY_QUEUE_VECTOR, regs.VIRTIO_QUEUE_VECTOR, 1);
    t.addStatus(regs.VIRTIO_DRIVER_OK);
    t.rig.disk.resize(256 * SECTORS);
    t.rig.machine.settle();
    assert.ok(t.interrupted(regs.VIRTIO_ISR_CONFIG));
    assert.not.ok(t.interrupted(regs.VIRTIO_ISR_QUEUE));
    assert.is(t.capacity(), SECTORS / 2);
    assert.is(t.request(regs.BLK_T_OUT, 0, bytes('TEST')), 0);
    assert.is(t.request(regs.BLK_T_IN, 0, bytes('')), 0);
    assert.ok(t.rig.machine.memory.equals(DATA + 16, bytes('TEST')));
    t.rig.controller.configWrite(MSIX_FLAGS, 2, 0);
  });

  test(`device tests, ${kind}: event indexes: the second of three requests is silent`, async () => {
    const t = await tester(kind);
    const { memory } = t.rig.machine;
    t.reset();
    t.openMessages();
    assert.ok((t.negotiate(regs.VIRTIO_F_INDIRECT_DESC) & regs.VIRTIO_F_EVENT_IDX) !== 0);
    t.place();
    t.setVector(regs.LEGACY_QUEUE_VECTOR, regs.VIRTIO_QUEUE_VECTOR, 1);
    t.addStatus(regs.VIRTIO_DRIVER_OK);
    const heads: number[] = [];
    for (const [sector, type] of [regs.BLK_T_OUT, regs.BLK_T_OUT, regs.BLK_T_IN].entries()) {
      const status = t.lay(type, sector, bytes('TEST'));
      const data = { at: DATA + 16, bytes: 512, write: type === regs.BLK_T_IN };
      heads.push(t.chain([{ at: DATA, bytes: 16 }, data, { at: status, bytes: 1, write: true }]));
      t.kick(heads[sector] as number, true);
      assert.is(memory.read8(status), 0);
      assert.is(t.interrupted(regs.VIRTIO_ISR_QUEUE), sector !== 1);
      if (sector === 0) assert.is(t.take(), heads[0]);
      memory.write16(t.usedEvent, 2);
    }
    assert.equal([t.take(), t.take(), t.take()], [heads[1], heads[2], -1]);
  });
}

test('device tests: the address of a queue that is not there, selected by one byte, is nobody’s', async () => {
  const { controller } = await Rig.create({ cold: true });
  controller.write8(0, regs.LEGACY_QUEUE_SELECT, 2);
  controller.write32(0, regs.LEGACY_QUEUE_ADDRESS, 1);
  assert.equal(
    [controller.read16(0, regs.LEGACY_QUEUE_SELECT), controller.read16(0, regs.LEGACY_QUEUE_SIZE)],
    [2, 0],
  );
  controller.write8(0, regs.LEGACY_QUEUE_SELECT, 0);
  assert.is(controller.read32(0, regs.LEGACY_QUEUE_ADDRESS), 0);
});

test('SeaBIOS, legacy: no features, the whole configuration byte by byte, requests without interrupts', async () => {
  const t = await tester('legacy');
  const { controller, machine } = t.rig;
  controller.write8(0, regs.LEGACY_STATUS, 0);
  controller.read8(0, regs.LEGACY_ISR);
  controller.write8(0, regs.LEGACY_STATUS, STARTED);
  assert.is(controller.read32(0, regs.LEGACY_QUEUE_ADDRESS), 0, 'nobody has placed the queue yet');
  t.place();
  const config = Uint8Array.from({ length: 24 }, (_, i) =>
    controller.read8(0, regs.LEGACY_CONFIG_VECTOR + i),
  );
  const fields = new DataView(config.buffer);
  assert.equal([fields.getUint32(0, true), fields.getUint32(4, true)], [SECTORS, 0]);
  assert.is(fields.getUint32(regs.BLK_BLK_SIZE, true), 512);
  controller.write8(0, regs.LEGACY_STATUS, STARTED | regs.VIRTIO_DRIVER_OK);
  machine.memory.write16(t.avail, regs.AVAIL_F_NO_INTERRUPT);
  t.rig.disk.write(512 * 3, bytes('boot', 1024));
  for (let round = 0; round < 3; round++) {
    const status = t.lay(regs.BLK_T_IN, 3, bytes('', 1024));
    const data = { at: DATA + 16, bytes: 1024, write: true };
    t.kick(t.chain([{ at: DATA, bytes: 16 }, data, { at: status, bytes: 1, write: true }]));
    assert.ok(t.take() >= 0);
    assert.is(controller.read8(0, regs.LEGACY_ISR), 0);
    assert.is(machine.memory.read8(status), 0);
    assert.ok(machine.memory.equals(DATA + 16, bytes('boot', 1024)));
  }
});

test('SeaBIOS, modern with its BAR out of reach: everything through the window', async () => {
  const rig = await Rig.create({ cold: true, profile: 'virtio-blk-modern' });
  const { controller, machine } = rig;
  const { memory } = machine;
  const window = regs.VIRTIO_CAP_AT_WINDOW;
  const open = (at: number, size: number): void => {
    controller.configWrite(window + regs.VIRTIO_CAP_BAR, 1, regs.VIRTIO_BAR_MODERN);
    controller.configWrite(window + regs.VIRTIO_CAP_OFFSET, 4, at);
    controller.configWrite(window + regs.VIRTIO_CAP_BYTES, 4, size);
  };
  const put = (at: number, size: 1 | 2 | 4, value: number): void => {
    open(at, size);
    controller.configWrite(window + regs.VIRTIO_CAP_EXTRA, size, value);
  };
  const get = (at: number, size: 1 | 2 | 4): number => {
    open(at, size);
    return controller.configRead(window + regs.VIRTIO_CAP_EXTRA, size);
  };
  controller.configWrite(4, 2, 4);
  put(regs.VIRTIO_STATUS, 1, 0);
  get(regs.VIRTIO_AT_ISR, 1);
  put(regs.VIRTIO_STATUS, 1, STARTED);
  const wanted = [regs.VIRTIO_BLK_F_BLK_SIZE | regs.VIRTIO_BLK_F_SEG_MAX, regs.VIRTIO_F_VERSION_1];
  for (const [word, bits] of wanted.entries()) {
    put(regs.VIRTIO_DEVICE_FEATURE_SELECT, 4, word);
    assert.is(get(regs.VIRTIO_DEVICE_FEATURE, 4) & bits, bits);
    put(regs.VIRTIO_DRIVER_FEATURE_SELECT, 4, word);
    put(regs.VIRTIO_DRIVER_FEATURE, 4, bits);
  }
  put(regs.VIRTIO_STATUS, 1, STARTED | regs.VIRTIO_FEATURES_OK);
  assert.is(get(regs.VIRTIO_STATUS, 1), STARTED | regs.VIRTIO_FEATURES_OK);
  assert.equal(
    [regs.BLK_CAPACITY, regs.BLK_CAPACITY + 4, regs.BLK_BLK_SIZE].map((at) =>
      get(regs.VIRTIO_AT_CONFIG + at, 4),
    ),
    [SECTORS, 0, 512],
  );
  put(regs.VIRTIO_QUEUE_SELECT, 2, 0);
  assert.equal([get(regs.VIRTIO_QUEUE_SIZE, 2), get(regs.VIRTIO_QUEUE_ENABLE, 2)], [128, 0]);
  const places = [0x10000, 0x10800, 0x11000];
  for (const [i, place] of places.entries()) {
    put(regs.VIRTIO_QUEUE_DESC + 8 * i, 4, place);
    put(regs.VIRTIO_QUEUE_DESC + 8 * i + 4, 4, 0);
  }
  put(regs.VIRTIO_QUEUE_ENABLE, 2, 1);
  put(regs.VIRTIO_STATUS, 1, STARTED | regs.VIRTIO_FEATURES_OK | regs.VIRTIO_DRIVER_OK);
  rig.disk.write(0, bytes('boot'));
  memory.write4x32(DATA, regs.BLK_T_IN, 0, 0, 0);
  memory.write4x32(0x10000, DATA, 0, 16, 0x10001);
  memory.write4x32(0x10010, DATA + 16, 0, 512, 0x20003);
  memory.write4x32(0x10020, DATA + 528, 0, 1, 2);
  memory.write16(0x10802, 1);
  put(regs.VIRTIO_AT_NOTIFY + get(regs.VIRTIO_QUEUE_NOTIFY_OFF, 2) * 4, 2, 0);
  machine.settle();
  assert.is(memory.read16(0x11002), 1);
  assert.ok(memory.equals(DATA + 16, bytes('boot')));
  assert.is(get(regs.VIRTIO_AT_ISR, 1), regs.VIRTIO_ISR_QUEUE);
});

test('Linux, legacy: a queue that is in use is refused, one that was taken down is set up again', async () => {
  const t = await tester('legacy');
  const { controller } = t.rig;
  for (let round = 0; round < 2; round++) {
    t.reset();
    t.openMessages();
    t.negotiate(NEITHER);
    controller.write16(0, regs.LEGACY_QUEUE_SELECT, 0);
    assert.is(controller.read32(0, regs.LEGACY_QUEUE_ADDRESS), 0);
    t.place();
    t.setVector(regs.LEGACY_CONFIG_VECTOR, regs.VIRTIO_CONFIG_VECTOR, 0);
    t.setVector(regs.LEGACY_QUEUE_VECTOR, regs.VIRTIO_QUEUE_VECTOR, 1);
    t.addStatus(regs.VIRTIO_DRIVER_OK);
    assert.is(t.request(regs.BLK_T_OUT, round, bytes('TEST')), 0);
    controller.write8(0, regs.LEGACY_STATUS, 0);
    assert.is(controller.read8(0, regs.LEGACY_STATUS), 0);
    t.setVector(regs.LEGACY_QUEUE_VECTOR, regs.VIRTIO_QUEUE_VECTOR, regs.VIRTIO_NO_VECTOR);
    controller.write32(0, regs.LEGACY_QUEUE_ADDRESS, 0);
    controller.configWrite(MSIX_FLAGS, 2, 0);
  }
});

test('Linux, modern: four queues with a vector each, a smaller ring, freeze and restore', async () => {
  const rig = await Rig.create({ cold: true, profile: 'virtio-blk-modern' });
  const { controller, machine } = rig;
  for (let round = 0; round < 2; round++) {
    rig.status = 0;
    for (let tries = 0; rig.status !== 0; tries++) assert.ok(tries < 10);
    rig.status = regs.VIRTIO_ACKNOWLEDGE;
    rig.status = STARTED;
    const low = rig.offered(0) & ~regs.VIRTIO_F_EVENT_IDX;
    for (const [word, bits] of [low, regs.VIRTIO_F_VERSION_1].entries()) {
      rig.write(regs.VIRTIO_DRIVER_FEATURE_SELECT, 4, word);
      rig.write(regs.VIRTIO_DRIVER_FEATURE, 4, bits);
    }
    rig.status = STARTED | regs.VIRTIO_FEATURES_OK;
    const generation = rig.read(regs.VIRTIO_CONFIG_GENERATION, 1);
    assert.is(rig.config(regs.BLK_CAPACITY), SECTORS);
    assert.is(rig.read(regs.VIRTIO_CONFIG_GENERATION, 1), generation);
    assert.is(rig.config(regs.BLK_NUM_QUEUES, 2), 4);
    controller.configWrite(MSIX_FLAGS, 2, PCI_MSIX_ENABLE | 0x4000);
    for (let i = 0; i < 5; i++) {
      controller.write32(1, 16 * i, 0x300000 + 4 * i);
      controller.write32(1, 16 * i + 8, 0x40 + i);
      controller.write32(1, 16 * i + 12, 0);
    }
    controller.configWrite(MSIX_FLAGS, 2, PCI_MSIX_ENABLE);
    rig.write(regs.VIRTIO_CONFIG_VECTOR, 2, 0);
    assert.is(rig.read(regs.VIRTIO_CONFIG_VECTOR, 2), 0);
    for (let queue = 0; queue < 4; queue++) {
      const base = 0x10000 + queue * 0x8000;
      machine.memory.fill(base, 0, 0x8000);
      rig.write(regs.VIRTIO_QUEUE_SELECT, 2, queue);
      assert.equal([rig.read(regs.VIRTIO_QUEUE_SIZE, 2), rig.read(regs.VIRTIO_QUEUE_ENABLE, 2)], [128, 0]);
      rig.write(regs.VIRTIO_QUEUE_SIZE, 2, 16);
      for (const [i, at] of [base, base + 0x1000, base + 0x2000].entries()) {
        rig.write(regs.VIRTIO_QUEUE_DESC + 8 * i, 4, at);
        rig.write(regs.VIRTIO_QUEUE_DESC + 8 * i + 4, 4, 0);
      }
      rig.write(regs.VIRTIO_QUEUE_VECTOR, 2, queue + 1);
      assert.is(rig.read(regs.VIRTIO_QUEUE_VECTOR, 2), queue + 1);
    }
    for (let queue = 0; queue < 4; queue++) {
      rig.write(regs.VIRTIO_QUEUE_SELECT, 2, queue);
      rig.write(regs.VIRTIO_QUEUE_ENABLE, 2, 1);
    }
    rig.status = rig.status | regs.VIRTIO_DRIVER_OK;
    for (let queue = 0; queue < 4; queue++) {
      const base = 0x10000 + queue * 0x8000;
      machine.memory.write4x32(DATA, regs.BLK_T_IN, 0, queue, 0);
      machine.memory.write4x32(base, DATA, 0, 16, 0x10001);
      machine.memory.write4x32(base + 16, DATA + 0x1000, 0, 512, 0x20003);
      machine.memory.write4x32(base + 32, DATA + 0x2000, 0, 1, 2);
      machine.memory.write32(base + 0x1000, 1 << 16);
      machine.memory.write32(0x300000 + 4 * (queue + 1), 0);
      rig.write(regs.VIRTIO_AT_NOTIFY + 4 * queue, 2, queue);
      machine.settle();
      assert.is(machine.memory.read16(base + 0x2002), 1);
      assert.is(machine.memory.read32(0x300000 + 4 * (queue + 1)), 0x41 + queue);
    }
  }
});

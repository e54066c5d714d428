// The mover and the DMA port: long scatter lists, segments where no RAM is, addresses at the end of the space.

import { attachAha1542 } from '../../src/drivers/aha1542.ts';
import { createMachine, type Disk } from '../../src/machine/index.ts';
import { asyncMedium, type Medium, ramMedium, type SyncMedium } from '../../src/media/index.ts';
import { ata, Hba, type Prd, pattern, regs } from '../ahci/hba.ts';
import { TestCommand, TestHost } from '../drivers/host.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('bus: mover');

const BYTES = 65536;
/** Two bytes every four: no two of them are one run. */
const AREA = 0x300000;
const SECTORS = 20;
const FRAGMENTS = (SECTORS * 512) / 2;

function fragments(count: number): Prd[] {
  return Array.from({ length: count }, (_, i) => ({ address: AREA + 4 * i, bytes: 2 }));
}

const MEDIA: Record<string, (ram: SyncMedium) => Medium | null> = {
  module: () => null,
  sync: (ram) => ram,
  async: (ram) => asyncMedium(ram),
};

async function setup(name: string): Promise<{ hba: Hba; ram: SyncMedium; disk: () => Uint8Array }> {
  const ram = ramMedium(BYTES);
  ram.writev(0, [pattern(BYTES, 1)]);
  const medium = MEDIA[name]?.(ram) ?? null;
  const hba = await Hba.create(medium === null ? { diskBytes: BYTES } : { medium });
  if (medium === null) hba.disk.write(0, pattern(BYTES, 1));
  const disk = (): Uint8Array => {
    if (medium === null) return hba.disk.read(0, BYTES);
    const bytes = new Uint8Array(BYTES);
    ram.readv(0, [bytes]);
    return bytes;
  };
  return { hba, ram, disk };
}

async function execute(hba: Hba, command: number, sectors: number, prds: readonly Prd[]): Promise<number> {
  hba.clear();
  hba.prepare(0, { command, lba: 2, count: sectors }, prds);
  hba.setPx(regs.AHCI_PX_CI, 1);
  await hba.machine.settleAsync();
  return hba.px(regs.AHCI_PX_TFD);
}

/** What lies in the fragments, and whether the bytes between them are as they were. */
function gathered(hba: Hba, count: number): Uint8Array {
  const area = hba.machine.memory.readBytes(AREA, 4 * count);
  for (let i = 0; i < count; i++)
    assert.is((area[4 * i + 2] as number) + (area[4 * i + 3] as number), 0x22 * 2);
  return Uint8Array.from({ length: 2 * count }, (_, i) => area[4 * (i >>> 1) + (i & 1)] as number);
}

for (const name of Object.keys(MEDIA)) {
  test(`more segments than the run list holds arrive byte for byte (${name})`, async () => {
    const { hba, disk } = await setup(name);
    const { memory } = hba.machine;
    memory.fill(AREA, 0x22, 4 * FRAGMENTS);
    assert.is(await execute(hba, ata.ATA_READ_DMA_EXT, SECTORS, fragments(FRAGMENTS)), ata.ATA_STATUS_GOOD);
    const read = gathered(hba, FRAGMENTS);
    assert.is(Buffer.compare(read, pattern(BYTES, 1).subarray(1024, 1024 + read.length)), 0);
    assert.is(hba.moved(), read.length);

    const data = pattern(2 * FRAGMENTS, 5);
    for (let i = 0; i < FRAGMENTS; i++) memory.writeBytes(AREA + 4 * i, data, 2 * i, 2);
    assert.is(await execute(hba, ata.ATA_WRITE_DMA_EXT, SECTORS, fragments(FRAGMENTS)), ata.ATA_STATUS_GOOD);
    const expected = pattern(BYTES, 1);
    expected.set(data, 1024);
    assert.is(Buffer.compare(disk(), expected), 0);
  });

  test(`an error behind a full run list is at its sector (${name})`, async () => {
    const { hba } = await setup(name);
    const { machine, disk } = hba;
    machine.addFault({ disk, kind: 'error', operations: ['read'], first: 20, last: 20 });
    machine.memory.fill(AREA, 0x22, 4 * FRAGMENTS);
    const tfd = await execute(hba, ata.ATA_READ_DMA_EXT, SECTORS, fragments(FRAGMENTS));
    assert.ok((tfd & ata.ATA_STATUS_ERR) !== 0);
    const good = 18 * 512;
    const read = gathered(hba, FRAGMENTS);
    assert.is(Buffer.compare(read.subarray(0, good), pattern(BYTES, 1).subarray(1024, 1024 + good)), 0);
    assert.ok(read.subarray(good).every((byte) => byte === 0x22));
  });

  test(`a list that is too short moves what it covers, and leaves the rest of the disk alone (${name})`, async () => {
    const { hba, disk } = await setup(name);
    const { machine } = hba;
    machine.memory.fill(AREA, 0x77, 4096);
    await execute(hba, ata.ATA_WRITE_DMA_EXT, 8, [{ address: AREA, bytes: 1024 }]);
    hba.controller.reset('power-on');
    await machine.idleMedia();
    const expected = pattern(BYTES, 1);
    const seen = disk();
    // Whether the device stores what it got before the list ended is its own affair; nothing else may change.
    for (let i = 0; i < BYTES; i++) {
      if (seen[i] !== expected[i]) assert.ok(i >= 1024 && i < 2048 && seen[i] === 0x77, `byte ${i}`);
    }
    assert.is(machine.pendingMedia, 0);
  });
}

test('a full run list is not counted as an access', async () => {
  const { hba } = await setup('module');
  const accesses = async (count: number): Promise<number> => {
    const before = hba.controller.counters.dmaWrites;
    await execute(hba, ata.ATA_READ_DMA_EXT, (count * 2) / 512, fragments(count));
    return hba.controller.counters.dmaWrites - before;
  };
  const few = await accesses(1024);
  assert.is((await accesses(FRAGMENTS)) - few, FRAGMENTS - 1024);
});

test('a segment that ends the address space goes on at its beginning, without end or trap', async () => {
  for (const low of [0xfffffffe, 0xfffffffc, 0xffffff00, 0xfffff000]) {
    const { hba } = await setup('module');
    const { memory } = hba.machine;
    hba.prepare(0, { command: ata.ATA_READ_DMA_EXT, lba: 2, count: 1 }, [{ address: 0, bytes: 512 }]);
    memory.write32(hba.table(0) + regs.AHCI_TABLE_PRDT, low);
    memory.write32(hba.table(0) + regs.AHCI_TABLE_PRDT + 4, 0xffffffff);
    hba.setPx(regs.AHCI_PX_CI, 1);
    hba.machine.settle();
    const cause = hba.px(regs.AHCI_PX_IS) & regs.AHCI_IS_HBFS;
    assert.is(cause, regs.AHCI_IS_HBFS, `host bus fatal error at ${low.toString(16)}`);
  }
});

/** RAM up to 4 MiB, nothing behind it, and an adapter that reads ones there and loses what it writes. */
async function beyondRam(name: string): Promise<{
  disk: () => Uint8Array;
  run(op: 'read' | 'write', segments: { address: number; bytes: number }[]): Promise<void>;
  read(address: number, bytes: number): Uint8Array;
  faults(): number;
  made: Disk;
}> {
  const machine = await createMachine({ flavour: 'debug', ram: [{ base: 0, bytes: 2 ** 22 }], guard: false });
  const controller = machine.addController({ kind: 'aha1542' });
  const ram = ramMedium(BYTES);
  ram.writev(0, [pattern(BYTES, 1)]);
  const medium = MEDIA[name]?.(ram) ?? null;
  const made = machine.addDisk(medium === null ? { bytes: BYTES } : { medium });
  if (medium === null) made.write(0, pattern(BYTES, 1));
  controller.attach(made, 0);
  const driver = attachAha1542(new TestHost(machine, controller));
  return {
    made,
    faults: () => controller.counters.dmaFaults,
    read: (address, bytes) => machine.memory.readBytes(address, bytes),
    disk() {
      const bytes = new Uint8Array(BYTES);
      if (medium === null) return made.read(0, BYTES);
      ram.readv(0, [bytes]);
      return bytes;
    },
    async run(op, segments) {
      const bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
      const command = new TestCommand({ op, lba: 4, sectors: bytes / 512, direction: op });
      assert.ok(driver.submit(command.setSegments(segments)));
      driver.kick();
      while (command.ended === 0) {
        if (machine.advance(machine.nextDeadline()) === 'media') await machine.waitMedia();
        driver.interrupt();
      }
      assert.is(command.status, 'ok');
    },
  };
}

for (const name of Object.keys(MEDIA)) {
  test(`ones are read where no RAM is, what is written there is lost (${name})`, async () => {
    const { run, read, disk, faults } = await beyondRam(name);
    // RAM, three pages and a bit of nothing from the end of RAM on, RAM again.
    const end = 2 ** 22;
    const segments = [
      { address: 0x100000, bytes: 512 },
      { address: end - 512, bytes: 512 + 13 * 1024 },
      { address: 0x110000, bytes: 512 },
    ];
    const bytes = 512 * 3 + 13 * 1024;
    const before = faults();
    await run('read', segments);
    assert.ok(faults() > before);
    const source = pattern(BYTES, 1).subarray(2048, 2048 + bytes);
    assert.is(Buffer.compare(read(0x100000, 512), source.subarray(0, 512)), 0);
    assert.is(Buffer.compare(read(end - 512, 512), source.subarray(512, 1024)), 0);
    assert.is(Buffer.compare(read(0x110000, 512), source.subarray(bytes - 512)), 0);
    // After data went nowhere, nothing there has become readable.
    await run('write', segments);
    const expected = pattern(BYTES, 1);
    expected.fill(0xff, 2048 + 1024, 2048 + 1024 + 13 * 1024);
    assert.is(Buffer.compare(disk(), expected), 0);
  });
}

import type { Page } from '../../src/kernel/index.ts';
import {
  type BlockDevice,
  bootLinux,
  EBUSY,
  EINVAL,
  EIO,
  ENXIO,
  type Gendisk,
  GFP_KERNEL,
  type Partition,
  REQ_OP_READ,
  REQ_OP_WRITE,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';
import { inTask, must } from './help.ts';

const test = suite('linux partitions');
const MIB = 2 ** 20;

interface Entry {
  readonly type: number;
  readonly start: number;
  readonly sectors: number;
}

/** A sector with a table of PCs. */
function table(...entries: readonly (Entry | null)[]): Uint8Array {
  const bytes = new Uint8Array(512);
  const view = new DataView(bytes.buffer);
  for (const [i, entry] of entries.entries()) {
    if (entry === null) continue;
    const at = 446 + 16 * i;
    bytes[at + 4] = entry.type;
    view.setUint32(at + 8, entry.start, true);
    view.setUint32(at + 12, entry.sectors, true);
  }
  view.setUint16(510, 0xaa55, true);
  return bytes;
}

async function boot(sectorBytes: 512 | 4096 = 512, controllerKind = 'ahci') {
  const machine = await createMachine({ diskBytes: 4 * MIB });
  const controller = machine.addController({ kind: controllerKind });
  const medium = machine.addDisk({ bytes: MIB, sectorBytes });
  controller.attach(medium, 0);
  const linux = bootLinux(machine);
  const [disk] = linux.scsi_add_host(controller).disks as [Gendisk];
  const page = must(linux.kernel.allocator.alloc({ tag: 'test' })) as Page;
  const transfer = (bdev: BlockDevice, op: number, sector: number, bytes = 512): number =>
    inTask(linux, function* () {
      const bio = must(yield* linux.bio_alloc(GFP_KERNEL, 1));
      bio.bi_bdev = bdev;
      bio.bi_op = op;
      bio.bi_iter.bi_sector = sector;
      linux.bio_add_page(bio, page, bytes, 0);
      const error = yield* linux.submit_bio_wait(bio);
      linux.bio_put(bio);
      return error;
    });
  const parts = () =>
    [...disk.part_tbl.values()].map(({ bd_name, start_sect, nr_sects }) => [bd_name, start_sect, nr_sects]);
  const scan = () => inTask(linux, () => linux.rescan_partitions(disk));
  return { machine, linux, medium, disk, page, transfer, parts, scan };
}

test('GMR-01 a bio for a partition reaches its place on the disk, and its end is the partition’s', async () => {
  const { machine, linux, medium, disk, page, transfer } = await boot();
  const part = linux.add_partition(disk, 1, 100, 50) as Partition;
  const remaps: unknown[] = [];
  linux.kernel.trace.listen({
    block_bio_remap: (_q, bio, from, sector) => {
      remaps.push([bio.bi_bdev?.bd_name, bio.bi_iter.bi_sector, from.bd_name, sector]);
    },
  });
  machine.memory.fill(page.phys, 0x5a, 512);
  assert.is(transfer(part, REQ_OP_WRITE, 7), 0);
  assert.equal([...new Set(medium.read(107 * 512, 512))], [0x5a]);
  assert.equal(remaps, [['sda', 107, 'sda1', 7]]);
  assert.is(transfer(part, REQ_OP_READ, 49), 0);
  assert.is(transfer(part, REQ_OP_READ, 50), -EIO);
  assert.is(medium.counters.writes, 1);
});

test('add_partition() refuses numbers in use, and what the disk does not have', async () => {
  const { linux, disk } = await boot();
  assert.is(typeof linux.add_partition(disk, 2, 0, 2048), 'object');
  assert.is(linux.add_partition(disk, 2, 0, 1), -EBUSY);
  for (const [partno, start, len] of [
    [0, 0, 1],
    [256, 0, 1],
    [1.5, 0, 1],
    [3, -1, 1],
    [3, 0, 0],
    [3, 1, 2048],
    [3, Number.NaN, 1],
  ] as const) {
    assert.is(linux.add_partition(disk, partno, start, len), -EINVAL, `${partno} ${start} ${len}`);
  }
});

test('a partition that is gone has no queue: bios for it fail', async () => {
  const { linux, disk, transfer } = await boot();
  const part = linux.add_partition(disk, 1, 0, 8) as Partition;
  assert.is(linux.disk_get_part(disk, 1), part);
  assert.is(linux.delete_partition(disk, 1), 0);
  assert.is(linux.delete_partition(disk, 1), -ENXIO);
  assert.is(linux.disk_get_part(disk, 1), null);
  assert.is(linux.disk_get_part(disk, 0), disk.part0);
  assert.is(transfer(part, REQ_OP_READ, 0), -EIO);
});

test('a disk whose name ends with a digit has a p before the number', async () => {
  const { linux, disk } = await boot();
  disk.disk_name = 'nvme0n1';
  assert.is((linux.add_partition(disk, 3, 0, 8) as Partition).bd_name, 'nvme0n1p3');
});

test('rescan_partitions() finds primary and logical partitions, and forgets those of before', async () => {
  const { linux, medium, disk, parts, scan } = await boot();
  linux.add_partition(disk, 9, 0, 1);
  medium.write(
    0,
    table(
      { type: 0x83, start: 63, sectors: 100 },
      null,
      { type: 0x05, start: 512, sectors: 1024 },
      { type: 0x82, start: 1600, sectors: 8 },
    ),
  );
  medium.write(
    512 * 512,
    table({ type: 0x83, start: 2, sectors: 90 }, { type: 0x05, start: 256, sectors: 100 }),
  );
  medium.write((512 + 256) * 512, table({ type: 0x07, start: 1, sectors: 99 }));
  assert.is(scan(), 5);
  assert.equal(parts(), [
    ['sda1', 63, 100],
    ['sda3', 512, 2],
    ['sda5', 514, 90],
    ['sda6', 769, 99],
    ['sda4', 1600, 8],
  ]);
});

test('sectors of a table are the disk’s own', async () => {
  const { medium, parts, scan } = await boot(4096, 'nvme');
  medium.write(0, table({ type: 0x83, start: 4, sectors: 10 }));
  assert.is(scan(), 1);
  assert.equal(
    parts().map(([, start, sectors]) => [start, sectors]),
    [[32, 80]],
  );
});

test('a disk without a table has no partitions; one that cannot be read keeps those that it had', async () => {
  const { machine, linux, medium, disk, parts, scan } = await boot();
  assert.is(scan(), 0);
  linux.add_partition(disk, 1, 0, 8);
  machine.addFault({ disk: medium, kind: 'error', operations: ['read'], first: 0, last: 0, times: 100 });
  assert.is(scan(), -EIO);
  assert.equal(parts(), [['sda1', 0, 8]]);
});

test('tables that lie end: beyond the disk, chains that loop, go on for ever or leave their partition', async () => {
  const { linux, medium, parts, scan } = await boot();
  medium.write(
    0,
    table(
      { type: 0x83, start: 2000, sectors: 0xffffffff },
      { type: 0x83, start: 0xfffffff0, sectors: 8 },
      { type: 0x0f, start: 100, sectors: 1000 },
    ),
  );
  // It points at itself, and its own partition lies outside.
  medium.write(
    100 * 512,
    table({ type: 0x83, start: 5000, sectors: 1 }, { type: 0x05, start: 0, sectors: 10 }),
  );
  assert.is(scan(), 2);
  assert.equal(parts(), [
    ['sda1', 2000, 48],
    ['sda3', 100, 2],
  ]);
  assert.equal(
    linux.kernel.warnings.all.map(({ rule }) => rule),
    ['partition', 'partition'],
  );
  for (let at = 100; at < 2040; at++) {
    medium.write(at * 512, table(null, { type: 0x05, start: at + 1 - 100, sectors: 1 }));
  }
  assert.is(scan(), 2);
});

import { type Inode, PAGE_SIZE, PG_uptodate, type Sleeps } from '../../src/kernel/index.ts';
import {
  BufferHead,
  bio_sectors,
  bootLinux,
  buffer_boundary,
  buffer_mapped,
  clear_buffer_boundary,
  EINVAL,
  EIO,
  ENOENT,
  ENOTDIR,
  EROFS,
  ESTALE,
  type Ext2SuperBlock,
  type Gendisk,
  type GetBlock,
  IS_ERR,
  type LinuxApi,
  type LinuxOptions,
  LruList,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, type Body, suite } from '../run/suite.ts';
import { makeImage, Shape, solid, whyNoImages } from './ext2-image.ts';
import { MemoryDevice, run } from './file.ts';
import { boot, inTask, must, objects } from './help.ts';

const suiteOf = suite('ext2');

/** A test that needs images. */
function test(name: string, body: Body): void {
  if (whyNoImages === null) suiteOf(name, body);
  else suiteOf.skip(name, whyNoImages);
}

const KIB = 1024;
const MIB = 2 ** 20;

const SHAPES = new Map<number, Record<string, Shape>>();

function shapes(block: number): Record<string, Shape> {
  const made = SHAPES.get(block) ?? makeShapes(block);
  SHAPES.set(block, made);
  return made;
}

/** Blocks of pointers begin at other places for every size of blocks. */
function makeShapes(block: number): Record<string, Shape> {
  const perBlock = block / 4;
  const double = (12 + perBlock) * block;
  const triple = double + perBlock * perBlock * block;
  return {
    empty: solid(0),
    byte: solid(1),
    small: solid(5000),
    direct: solid(12 * block),
    indirect: solid(13 * block + 7),
    sixteen: solid(16 * PAGE_SIZE),
    holes: new Shape(40 * block, [
      [block, block],
      [3 * block, 2 * block],
      [11 * block, 3 * block],
      [39 * block - 10, 20],
    ]),
    hollow: new Shape(100 * KIB, []),
    double: new Shape(double + 9 * block, [
      [double - 2 * block, 5 * block],
      [double + 7 * block, 100],
    ]),
    ...(block === KIB
      ? {
          triple: new Shape(triple + 300 * block + 50, [
            [0, 3000],
            [triple - 3 * block, 6 * block],
            [triple + 256 * block - 100, 200],
            [triple + 300 * block, 50],
          ]),
        }
      : {}),
    'sub/deeper/file': solid(3 * block),
  };
}

const IMAGES = new Map<number, Uint8Array>();

function imageOf(block: number): Uint8Array {
  const image = IMAGES.get(block) ?? makeImage(shapes(block), block, block === 4 * KIB ? 3 * KIB : 2 * KIB);
  IMAGES.set(block, image);
  return image;
}

/** A kernel with the image on a disk of a controller. */
async function machineWith(
  kind: string,
  image: Uint8Array,
  options: { readonly sectorBytes?: 4096; readonly linux?: LinuxOptions } = {},
) {
  const machine = await createMachine({ diskBytes: 4 * MIB });
  const controller = machine.addController({ kind });
  const { sectorBytes = 512 } = options;
  const disk = machine.addDisk({ bytes: image.length, sectorBytes });
  disk.write(0, image);
  controller.attach(disk, 0);
  const linux = bootLinux(machine, options.linux);
  const [gendisk] = linux.scsi_add_host(controller).disks as [Gendisk];
  return { machine, linux, bdev: gendisk.part0 };
}

function ok<T extends object>(result: T | number): T {
  if (IS_ERR(result)) throw new Error(`it failed: ${result}`);
  return result;
}

/** Reads a whole file with read ahead and compares it, page by page; what it holds is dropped again. */
function* compare(linux: LinuxApi, inode: Inode, shape: Shape): Sleeps<void> {
  const { mapping } = inode;
  const pages = Math.ceil(shape.size / PAGE_SIZE);
  assert.is(inode.size, shape.size);
  for (let from = 0; from < pages; from += 512) {
    yield* linux.force_page_cache_readahead(mapping, from, 512);
    for (let index = from; index < Math.min(pages, from + 512); index++) {
      const page = must(linux.find_get_page(mapping, index));
      yield* linux.wait_on_page_locked(page);
      assert.ok(page.has(PG_uptodate), `page ${index}`);
      assert.ok(linux.kernel.memory.equals(page.phys, shape.page(index)), `bytes of page ${index}`);
      linux.put_page(page);
    }
    yield* linux.kernel.vm.dropCache(inode);
  }
}

/** Sizes of blocks by controller: what lies behind a triple indirect block, with blocks of 1 KiB, takes a while. */
const READERS: Readonly<Record<string, readonly number[]>> = {
  ahci: [KIB, 2 * KIB, 4 * KIB],
  nvme: [KIB, 2 * KIB, 4 * KIB],
  aha1542: [2 * KIB],
  'piix-ide': [4 * KIB],
  'virtio-blk': [2 * KIB],
};

for (const [kind, sizes] of Object.entries(READERS)) {
  for (const block of sizes) {
    test(`files of every shape, blocks of ${block} bytes (${kind})`, async () => {
      const { machine, linux, bdev } = await machineWith(kind, imageOf(block));
      linux.kernel.scheduler.complete('reader', function* () {
        const sb = ok(yield* linux.ext2_fill_super(bdev));
        assert.is(sb.s_blocksize, block);
        for (const [path, shape] of Object.entries(shapes(block))) {
          yield* compare(linux, ok(yield* linux.ext2_namei(sb, path)), shape);
        }
        yield* linux.ext2_put_super(sb);
      });
      assert.equal([machine.guard.findings(), linux.kernel.warnings.all], [[], []]);
      assert.equal([objects(linux, 'buffer_head'), linux.kernel.allocator.usage().get('cache') ?? 0], [0, 0]);
    });
  }
}

test('a disk with sectors of 4 KiB: blocks of 4 KiB can be read, smaller ones not', async () => {
  for (const block of [KIB, 4 * KIB]) {
    const { linux, bdev } = await machineWith('nvme', imageOf(block), { sectorBytes: 4096 });
    linux.kernel.scheduler.complete('reader', function* () {
      const sb = yield* linux.ext2_fill_super(bdev);
      if (block === KIB) assert.is(sb, -EINVAL);
      else yield* compare(linux, ok(yield* linux.ext2_namei(ok(sb), 'small')), solid(5000));
    });
  }
});

for (const kind of ['ahci', 'nvme']) {
  test(`readers of the same files at once, with interrupts wherever they may come (${kind})`, async () => {
    for (const seed of [1, 2, 3]) {
      const options = { accessChance: 0.5, order: 'seeded', seed, trackSleeps: true } as const;
      const { machine, linux, bdev } = await machineWith(kind, imageOf(KIB), { linux: options });
      const { scheduler, memory, vm } = linux.kernel;
      const sb = ok(scheduler.complete('mount', () => linux.ext2_fill_super(bdev)));
      const shape = shapes(KIB).holes as Shape;
      function* reader(): Sleeps<void> {
        const { mapping } = ok(yield* linux.ext2_namei(sb, 'holes'));
        for (let index = 0; index < shape.size / PAGE_SIZE; index++) {
          if (index % 4 === 0) yield* linux.__do_page_cache_readahead(mapping, index, 4);
          const page = ok(yield* linux.read_mapping_page(mapping, index));
          assert.ok(memory.equals(page.phys, shape.page(index)), `bytes of page ${index}`);
          linux.put_page(page);
        }
      }
      scheduler.complete('all', function* () {
        const readers = run(0, 4).map((i) => scheduler.spawn(`reader ${i}`, reader));
        yield* scheduler.delay(30_000);
        yield* vm.dropCache(ok(yield* linux.ext2_namei(sb, 'holes')));
        for (const task of readers) yield* scheduler.join(task);
        yield* linux.ext2_put_super(sb);
      });
      assert.equal([machine.guard.findings(), linux.kernel.warnings.all], [[], []]);
      assert.equal([objects(linux, 'buffer_head'), linux.kernel.allocator.usage().get('cache') ?? 0], [0, 0]);
    }
  });
}

// ---- the order of submission

/** What a read of the first 16 blocks asks of the disk, in blocks from the file's first on: bios, and what the disk did. */
async function orderOf(block: number, boundary: boolean) {
  const { machine, linux, bdev } = await machineWith('ahci', imageOf(block));
  const bios: string[] = [];
  const media: string[] = [];
  linux.kernel.scheduler.complete('reader', function* () {
    const sb = ok(yield* linux.ext2_fill_super(bdev));
    const inode = ok(yield* linux.ext2_namei(sb, 'sixteen'));
    const bh = new BufferHead();
    bh.b_size = block;
    assert.is(yield* linux.ext2_get_block(inode, 0, bh, false), 0);
    const per = block / 512;
    const name = (sector: number, sectors: number): string => {
      const first = sector / per - bh.b_blocknr;
      return sectors > per ? `${first}-${first + sectors / per - 1}` : `${first}`;
    };
    linux.kernel.trace.listen({
      block_bio_queue: (_q, bio) => void bios.push(name(bio.bi_iter.bi_sector, bio_sectors(bio))),
    });
    machine.tracer.listen((event) => {
      if (event.name === 'media') media.push(name(event.fields.sector, event.fields.sectors));
    });
    const get_block: GetBlock = function* (...args) {
      const error = yield* linux.ext2_get_block(...args);
      if (!boundary) clear_buffer_boundary(args[2]);
      return error;
    };
    const list = new LruList();
    for (const index of run(0, (16 * block) / PAGE_SIZE)) {
      const page = must(linux.kernel.allocator.alloc({ tag: 'cache' }));
      page.index = index;
      list.add(page);
    }
    yield* linux.mpage_readpages(inode.mapping, list, list.length, get_block);
    for (const page of inode.mapping.pages.values()) yield* linux.wait_on_page_locked(page);
  });
  return { bios, media };
}

for (const block of [4 * KIB, KIB]) {
  test(`MPAGE-13 on a real image with blocks of ${block} bytes: ext2 sets BH_Boundary, and the order is right`, async () => {
    const { bios, media } = await orderOf(block, true);
    assert.equal(
      [bios, media],
      [
        ['0-11', '12', '13-16'],
        ['0-11', '12', '13-16'],
      ],
    );
  });

  test(`MPAGE-13 on a real image with blocks of ${block} bytes: without it the indirect block comes first`, async () => {
    const { bios, media } = await orderOf(block, false);
    assert.equal(
      [bios, media],
      [
        ['12', '0-11', '13-16'],
        ['12', '0-11', '13-16'],
      ],
    );
  });
}

// ---- get_block

/** A kernel with the image as a device of the test's own, and what is on it mounted. */
async function mounted(image: Uint8Array, block: number) {
  const linux = await boot();
  const device = new MemoryDevice(linux, block, image);
  const sb = ok(inTask(linux, () => linux.ext2_fill_super(device)));
  return { linux, device, sb };
}

function open(linux: LinuxApi, sb: Ext2SuperBlock, path: string): Inode {
  return ok(inTask(linux, () => linux.ext2_namei(sb, path)));
}

test('get_block maps a run up to the end of its block of pointers, and says that it is one', async () => {
  const { linux, sb } = await mounted(imageOf(KIB), KIB);
  const inode = open(linux, sb, 'sixteen');
  const map = (iblock: number, blocks: number, create = false): [number, boolean, number] => {
    const bh = new BufferHead();
    bh.b_size = blocks * KIB;
    const error = inTask(linux, () => linux.ext2_get_block(inode, iblock, bh, create));
    return [error, buffer_boundary(bh), buffer_mapped(bh) ? bh.b_size / KIB : 0];
  };
  assert.equal(
    [map(0, 64), map(3, 4), map(3, 9), map(11, 1)],
    [
      [0, true, 12],
      [0, false, 4],
      [0, true, 9],
      [0, true, 1],
    ],
  );
  assert.equal(
    [map(12, 100), map(63, 1), map(64, 1)],
    [
      [0, false, 52],
      [0, false, 1],
      [0, false, 0],
    ],
  );
  assert.equal([map(64, 1, true)[0], map(12 + 256 + 65536 + 2 ** 24, 1)[0]], [-EROFS, -EIO]);
});

test('an indirect block that cannot be read: the page has an error, and the warning names it', async () => {
  const { linux, device, sb } = await mounted(imageOf(KIB), KIB);
  const inode = open(linux, sb, 'sixteen');
  const bh = new BufferHead();
  bh.b_size = KIB;
  inTask(linux, () => linux.ext2_get_block(inode, 11, bh, false));
  device.bad.add(bh.b_blocknr + 1);
  assert.is(
    inTask(linux, () => linux.read_mapping_page(inode.mapping, 3)),
    -EIO,
  );
  assert.match(linux.kernel.warnings.all[0]?.what ?? '', /cannot read indirect block/);
  device.bad.clear();
  const page = inTask(linux, () => linux.read_mapping_page(inode.mapping, 2));
  if (typeof page === 'number') throw new Error('the direct blocks are as they were');
  linux.put_page(page);
});

// ---- directories

test('directories of many blocks are read in order, and names are found', async () => {
  const files: Record<string, Shape> = {};
  const names = run(0, 300).map((i) => `${'x'.repeat(i % 200)}${i}`);
  for (const name of names) files[`many/${name}`] = solid(0);
  files.ünïcode = solid(3);
  const { linux, sb } = await mounted(makeImage(files, KIB, 2 * KIB, ['-N', '512']), KIB);
  const dir = open(linux, sb, 'many');
  const entries = ok(inTask(linux, () => linux.ext2_readdir(dir)));
  assert.ok(dir.size > 20 * KIB);
  assert.equal(
    entries.slice(0, 2).map(({ name }) => name),
    ['.', '..'],
  );
  assert.equal(
    entries
      .slice(2)
      .map(({ name }) => name)
      .sort(),
    [...names].sort(),
  );
  assert.is(open(linux, sb, 'ünïcode').size, 3);
  assert.is(open(linux, sb, '/many//0'), open(linux, sb, 'many/0'));
  assert.is(open(linux, sb, 'many/../many/.'), dir);
  const find = (path: string) => inTask(linux, () => linux.ext2_namei(sb, path));
  assert.equal([find('many/none'), find('many/0/x'), find('none/x')], [-ENOENT, -ENOTDIR, -ENOENT]);
});

test('inodes that nobody uses or that cannot be', async () => {
  const { linux, sb } = await mounted(imageOf(KIB), KIB);
  const get = (ino: number) => inTask(linux, () => linux.ext2_iget(sb, ino));
  assert.equal(
    [get(0), get(3), get(sb.s_inodes_count), get(sb.s_inodes_count + 1)],
    [-EINVAL, -EINVAL, -ESTALE, -EINVAL],
  );
});

// ---- images of revision 0 and features

test('revision 0 has inodes of 128 bytes', async () => {
  const image = makeImage({ file: solid(20 * KIB) }, KIB, KIB, ['-r', '0', '-O', 'none']);
  const { linux, sb } = await mounted(image, KIB);
  assert.is(sb.s_inode_size, 128);
  const inode = open(linux, sb, 'file');
  inTask(linux, () => compare(linux, inode, solid(20 * KIB)));
});

test('a file system with extents is refused by the feature', async () => {
  const linux = await boot();
  const image = makeImage({ file: solid(20) }, KIB, KIB, ['-O', 'extents']);
  const device = new MemoryDevice(linux, KIB, image);
  assert.is(
    inTask(linux, () => linux.ext2_fill_super(device)),
    -EINVAL,
  );
  assert.match(linux.kernel.warnings.all[0]?.what ?? '', /features \(0x40\)/);
});

// ---- bad images

interface Damage {
  readonly what: string;
  /** Byte of the superblock, and what is put there: 16 or 32 bits. */
  readonly at: number;
  readonly value: number;
  readonly bits?: 16;
  readonly message: RegExp;
  readonly error?: number;
}

const DAMAGES: readonly Damage[] = [
  { what: 'no magic', at: 56, value: 0x1234, bits: 16, message: /can't find an ext2/ },
  { what: 'a revision of the future', at: 76, value: 2, message: /revision level 2/ },
  { what: 'blocks of 8 KiB', at: 24, value: 3, message: /blocks of 2\^13/ },
  { what: 'blocks without end', at: 24, value: 0xffffffff, message: /blocks of/ },
  { what: 'inodes of no bytes', at: 88, value: 0, bits: 16, message: /inode size: 0/ },
  { what: 'inodes of 200 bytes', at: 88, value: 200, bits: 16, message: /inode size: 200/ },
  { what: 'inodes of 32 KiB', at: 88, value: 32768, bits: 16, message: /inode size: 32768/ },
  { what: 'no blocks in a group', at: 32, value: 0, message: /0 blocks per group/ },
  { what: 'more than a bitmap of blocks', at: 32, value: 0x10000, message: /65536 blocks per group/ },
  { what: 'no inodes in a group', at: 40, value: 0, message: /0 inodes per group/ },
  { what: 'more inodes than groups hold', at: 0, value: 0xffffffff, message: /inodes in 1 groups/ },
  { what: 'more blocks than the device', at: 4, value: 0xffffffff, message: /exceeds size of device/ },
  { what: 'no blocks', at: 4, value: 0, message: /first data block/ },
  { what: 'its data behind its end', at: 20, value: 0x7fffffff, message: /first data block/ },
];

function put(image: Uint8Array, at: number, value: number, bytes: number): void {
  for (let i = 0; i < bytes; i++) image[at + i] = Math.floor(value / 256 ** i) % 256;
}

function get16(image: Uint8Array, at: number): number {
  return (image[at] ?? 0) + (image[at + 1] ?? 0) * 256;
}

for (const { what, at, value, bits = 32, message, error = -EINVAL } of DAMAGES) {
  test(`a superblock with ${what} is refused, and the warning says why`, async () => {
    const linux = await boot();
    const image = imageOf(KIB).slice();
    put(image, 1024 + at, value, bits / 8);
    const device = new MemoryDevice(linux, KIB, image);
    assert.is(
      inTask(linux, () => linux.ext2_fill_super(device)),
      error,
    );
    assert.match(linux.kernel.warnings.all[0]?.what ?? '', message);
  });
}

test('a superblock that cannot be read, and a device that has none', async () => {
  const linux = await boot();
  const device = new MemoryDevice(linux, KIB, imageOf(KIB));
  device.bad.add(1);
  assert.is(
    inTask(linux, () => linux.ext2_fill_super(device)),
    -EIO,
  );
  const tiny = new MemoryDevice(linux, KIB, new Uint8Array(KIB));
  assert.is(
    inTask(linux, () => linux.ext2_fill_super(tiny)),
    -EIO,
  );
  assert.equal(
    linux.kernel.warnings.all.map(({ what }) => what),
    ['unable to read superblock'],
  );
});

/** Where the inode of a path is in the image. */
async function inodeAt(path: string): Promise<{ readonly at: number; readonly image: Uint8Array }> {
  const image = imageOf(KIB).slice();
  const { linux, sb } = await mounted(image, KIB);
  open(linux, sb, path);
  const [ino = 0] = Array.from(sb.inodes.keys()).slice(-1);
  return { at: get16(image, 2 * KIB + 8) * KIB + (ino - 1) * sb.s_inode_size, image };
}

test('pointers that lead nowhere are errors of their pages, wherever they are', async () => {
  for (const [pointer, page] of [
    [0, 0],
    [12, 3],
    [13, 67],
  ] as const) {
    const { at, image } = await inodeAt('double');
    put(image, at + 40 + 4 * pointer, 0x00ffffff, 4);
    const { linux, sb } = await mounted(image, KIB);
    const inode = open(linux, sb, 'double');
    assert.is(
      inTask(linux, () => linux.read_mapping_page(inode.mapping, page)),
      -EIO,
    );
    assert.match(linux.kernel.warnings.all[0]?.what ?? '', /pointer to block 16777215, which is none/);
  }
});

test('a block of pointers that points to itself ends after three levels', async () => {
  const { at, image } = await inodeAt('triple');
  const block = 1500; // somewhere in the image
  for (let i = 0; i < 256; i++) put(image, block * KIB + 4 * i, block, 4);
  put(image, at + 40 + 4 * 14, block, 4);
  const { linux, sb } = await mounted(image, KIB);
  const inode = open(linux, sb, 'triple');
  const index = Math.floor((12 + 256 + 65536 + 1000) / 4);
  const page = inTask(linux, () => linux.read_mapping_page(inode.mapping, index));
  if (typeof page === 'number') assert.is(page, -EIO);
  else linux.put_page(page);
});

test('a size that no file can have, and a root that is no directory', async () => {
  const large = await inodeAt('small');
  put(large.image, large.at + 108, 0xffff, 4);
  const { linux, sb } = await mounted(large.image, KIB);
  assert.is(
    inTask(linux, () => linux.ext2_namei(sb, 'small')),
    -EIO,
  );
  const root = await inodeAt('.');
  put(root.image, root.at, 0x8000, 2);
  const other = await boot();
  const device = new MemoryDevice(other, KIB, root.image);
  assert.is(
    inTask(other, () => other.ext2_fill_super(device)),
    -EINVAL,
  );
  assert.match(other.kernel.warnings.all[0]?.what ?? '', /corrupt root inode/);
});

test('bad entries of directories are errors, and end', async () => {
  for (const [offset, value, bytes, message] of [
    [4, 0, 2, /smaller than minimal/],
    [4, 14, 2, /unaligned/],
    [4, 2048, 2, /across blocks/],
    [6, 255, 1, /too small for name_len/],
    [0, 0x7fffffff, 4, /inode out of bounds/],
  ] as const) {
    const { at, image } = await inodeAt('sub');
    const block = get16(image, at + 40); // the first of its blocks
    put(image, block * KIB + 12 + offset, value, bytes); // the second entry
    const { linux, sb } = await mounted(image, KIB);
    assert.is(
      inTask(linux, () => linux.ext2_namei(sb, 'sub/deeper')),
      -EIO,
    );
    assert.match(linux.kernel.warnings.all[0]?.what ?? '', message);
  }
  const { at, image } = await inodeAt('sub');
  put(image, at + 4, 0x3fffffff, 4);
  const { linux, sb } = await mounted(image, KIB);
  assert.is(
    inTask(linux, () => linux.ext2_namei(sb, 'sub/deeper')),
    -EIO,
  );
});

test('images with any bytes wrong are read to an end, with errors or without', async () => {
  const good = imageOf(KIB);
  let state = 12345;
  const chance = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const linux = await boot();
  const outcomes = { refused: 0, failed: 0, read: 0 };
  for (let round = 0; round < 200; round++) {
    const image = good.slice();
    // The superblock, the descriptors, the first inodes, the first blocks of data: where it hurts.
    for (let i = 0; i < 1 + chance(8); i++) {
      const at = chance(2) === 0 ? KIB + chance(KIB + 64) : chance(400 * KIB);
      image[at] = chance(256);
    }
    const device = new MemoryDevice(linux, KIB, image);
    inTask(linux, function* () {
      const sb = yield* linux.ext2_fill_super(device);
      if (IS_ERR(sb)) {
        outcomes.refused++;
        return;
      }
      let failed = false;
      for (const path of ['small', 'sixteen', 'holes', 'double', 'triple', 'sub/deeper/file']) {
        const inode = yield* linux.ext2_namei(sb, path);
        if (IS_ERR(inode)) {
          failed = true;
          continue;
        }
        for (const index of [0, 1, 3, 66, 16451, Math.floor(inode.size / PAGE_SIZE)]) {
          const page = yield* linux.read_mapping_page(inode.mapping, index);
          if (typeof page === 'number') failed = true;
          else linux.put_page(page);
        }
      }
      if (failed) outcomes.failed++;
      else outcomes.read++;
      yield* linux.ext2_put_super(sb);
    });
    device.requests.length = 0;
  }
  assert.ok(outcomes.refused > 2 && outcomes.failed > 2 && outcomes.read > 2, JSON.stringify(outcomes));
});

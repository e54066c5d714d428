// Images that contradict themselves, or want what is not supported: refused with file, byte and field.

import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from '../../src/kernel/random.ts';
import {
  bytesBackend,
  createQcow2,
  formatQcow2,
  MediumError,
  type MediumReason,
  openImage,
  qcow2Medium,
} from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { contentOf, pattern, scratchFolder } from './help.ts';
import { needing, qemuImg } from './qemu.ts';

const test = suite('media: qcow2 hostile');
const qemuTest = needing(test, ['qemu-img'], 'qemu-utils');
const folder = scratchFolder();
const MIB = 2 ** 20;
const CLUSTER = 4096;

/** An image of clusters of 4 KiB whose first cluster is written: L1 at cluster 3, L2 at 4, data at 5. */
function sample(options: { version?: 2 | 3; snapshots?: number } = {}): Uint8Array {
  const backend = bytesBackend();
  formatQcow2(backend, { bytes: MIB, clusterBytes: CLUSTER, version: options.version ?? 3 });
  const medium = qcow2Medium(backend);
  medium.writev(0, [pattern(512, 1)]);
  medium.close();
  return backend.bytes();
}

/** Changes words of 4 bytes, big-endian. */
function patched(words: Readonly<Record<number, number>>, image = sample()): Uint8Array {
  const view = new DataView(image.buffer);
  for (const [at, value] of Object.entries(words)) view.setUint32(Number(at), value >>> 0);
  return image;
}

function refuses(work: () => unknown, reason: MediumReason, message: RegExp): void {
  try {
    work();
  } catch (error) {
    assert.instance(error, MediumError);
    assert.match((error as MediumError).message, message);
    assert.is((error as MediumError).reason, reason);
    return;
  }
  assert.unreachable(`not refused: ${message}`);
}

const open = (image: Uint8Array, readOnly = false) =>
  qcow2Medium(bytesBackend(image, { name: 'a.qcow2', readOnly }));

const L1 = 3 * CLUSTER;
const L2 = 4 * CLUSTER;
const DATA = 5 * CLUSTER;

test('a header that says what cannot be is refused with its byte and field', () => {
  const cases: [Record<number, number>, MediumReason, RegExp][] = [
    [{ 0: 0 }, 'format', /^a.qcow2: byte 0 \(magic\)/],
    [{ 4: 4 }, 'unsupported', /byte 4 \(version\): version 4; 2 and 3/],
    [{ 20: 8 }, 'format', /byte 20 \(cluster_bits\): 8; it must be from 9 to 21/],
    [{ 20: 22 }, 'format', /cluster_bits/],
    [{ 24: 0x400000 }, 'format', /byte 24 \(size\)/],
    [{ 28: 100 }, 'format', /byte 24 \(size\): 100; it must be a multiple of 512/],
    [{ 32: 1 }, 'unsupported', /byte 32 \(crypt_method\): the image is encrypted \(AES\)/],
    [{ 32: 2 }, 'unsupported', /encrypted \(LUKS\)/],
    [{ 36: 0 }, 'format', /byte 36 \(l1_size\): 0 entries; .* needs 1/],
    [{ 36: 0xffffffff }, 'format', /l1_size/],
    [{ 44: L1 + 512 }, 'format', /byte 40 \(l1_table_offset\): .*multiple of the cluster/],
    [{ 44: 0 }, 'format', /l1_table_offset/],
    [{ 44: 100 * MIB }, 'format', /l1_table_offset\): .*the file ends at/],
    [{ 40: 0xff000000 }, 'format', /l1_table_offset/],
    [{ 44: CLUSTER }, 'format', /refcount_table_offset\): 4096, where the L1 table lies/],
    [{ 52: 100 * MIB }, 'format', /byte 48 \(refcount_table_offset\)/],
    [{ 56: 0 }, 'format', /byte 56 \(refcount_table_clusters\)/],
    [{ 56: 0x7fffffff }, 'format', /refcount_table_clusters/],
    [{ 60: 0x10001 }, 'format', /byte 60 \(nb_snapshots\)/],
    [{ 60: 1, 68: 100 * MIB }, 'format', /byte 64 \(snapshots_offset\): .*behind the end/],
    [{ 96: 7 }, 'format', /byte 96 \(refcount_order\): 7; it must be from 0 to 6/],
    [{ 100: 96 }, 'format', /byte 100 \(header_length\): 96/],
    [{ 100: 8192 }, 'format', /header_length/],
    [{ 104: 0x12345678, 108: 0x7fffffff }, 'format', /byte 108 \(header extension length\)/],
    [{ 12: CLUSTER, 16: 5 }, 'format', /byte 8 \(backing_file_offset\)/],
    [{ 12: 200, 16: 2000 }, 'format', /byte 16 \(backing_file_size\)/],
    [{ 76: 2 }, 'format', /byte 72 \(incompatible_features\): the image is marked corrupt.*qemu-img check/],
    [{ 76: 1 }, 'format', /byte 72 \(incompatible_features\): the image was not closed/],
    [{ 76: 4 }, 'unsupported', /external data file/],
    [{ 76: 8 }, 'unsupported', /compression_type/],
    [{ 76: 16 }, 'unsupported', /subclusters \(extended L2 entries\)/],
    [{ 76: 1 << 20 }, 'unsupported', /bit 20 is set: a feature without a name/],
    [{ 72: 1 << 31 }, 'unsupported', /bit 63 is set/],
  ];
  for (const [words, reason, message] of cases) {
    refuses(() => open(patched(words)), reason, message);
  }
  refuses(() => open(sample().slice(0, 60)), 'format', /byte 60 \(header\): the file ends within it/);
  refuses(() => open(new Uint8Array(0)), 'format', /byte 0 \(header\)/);
  assert.is(open(patched({ 76: 1 }), true).readOnly, true); // not closed, but read only
});

test('an unknown feature is refused by the name that the image gives it', () => {
  const image = patched({ 72: 1 << 8, 104: 0x6803f857, 108: 48 }); // bit 40
  image.set([0, 40, ...new TextEncoder().encode('time travel')], 112);
  refuses(() => open(image), 'unsupported', /bit 40 is set: time travel, which is not supported/);
});

test('an entry that leads astray is refused with its byte', () => {
  const read = (words: Record<number, number>) => (): void => {
    open(patched(words), true).readv(0, [new Uint8Array(512)]);
  };
  refuses(
    read({ [L1 + 4]: 0x1200 }),
    'format',
    /byte 12288 \(L1 entry\): 4608 is no multiple of the cluster/,
  );
  refuses(read({ [L1]: 0x80000001 }), 'format', /byte 12288 \(L1 entry\): .*behind the end of the file/);
  refuses(read({ [L1 + 4]: L1 }), 'format', /L1 entry\): 12288, where the L1 table lies/);
  refuses(read({ [L1 + 4]: L2 | 1 }), 'format', /L1 entry\): reserved bits/);
  refuses(read({ [L2 + 4]: DATA | 512 }), 'format', /byte 16384 \(L2 entry\): .*multiple of the cluster/);
  refuses(read({ [L2]: 0x80ffffff }), 'format', /L2 entry\): .*behind the end/);
  refuses(read({ [L2 + 4]: DATA | 2 }), 'format', /L2 entry\): reserved bits/);
  refuses(read({ [L2 + 4]: L2 }), 'format', /L2 entry\): 16384, where an L2 table lies/);
  refuses(read({ [L2]: 0x40000000, [L2 + 4]: 0x7fffffff }), 'format', /L2 entry\): .*behind the end/);
  refuses(read({ [L2]: 0x40000000, [L2 + 4]: L2 + 8 }), 'format', /where an L2 table lies/);
  refuses(read({ [L2]: 0x40000000, [L2 + 4]: DATA }), 'unsupported', /compressed clusters need Node/);
  const old = sample({ version: 2 });
  refuses(
    () => open(patched({ [L2 + 4]: DATA | 1 }, old)).readv(0, [new Uint8Array(1)]),
    'format',
    /reserved/,
  );
});

test('what refcounts contradict is not written', () => {
  const blocks = 2 * CLUSTER;
  const write = (words: Record<number, number>) => (): void => {
    const medium = open(patched(words));
    medium.writev(0, [new Uint8Array(512)]);
    medium.writev(8192, [new Uint8Array(512)]);
  };
  // Refcounts of 16 bits: clusters 4 (the L2 table) and 5 (data) stand in one word.
  refuses(
    write({ [blocks + 8]: 0x00010002 }),
    'format',
    /byte 16384 \(L2 entry\): .*its own, but its refcount is 2/,
  );
  refuses(
    write({ [blocks + 8]: 0x00000001 }),
    'format',
    /refcount\): 0 for byte 16384, where an L2 table lies/,
  );
  refuses(
    write({ [CLUSTER + 4]: L2 }),
    'format',
    /byte 4096 \(refcount table entry\): 16384, where an L2 table lies/,
  );
  refuses(write({ [CLUSTER]: 1 }), 'format', /byte 4096 \(refcount table entry\): .*behind the end/);
  // Not its own, and counted by nobody: it cannot be given up.
  refuses(
    write({ [blocks + 8]: 0x00010000, [L2]: 0 }),
    'format',
    /L2 entry\): 20480, a cluster whose refcount is 0/,
  );
});

test('images with broken bytes anywhere throw nothing but medium errors', async () => {
  const random = new Random(90);
  const clean = sample();
  let refused = 0;
  for (let round = 0; round < 4000; round++) {
    const image = clean.slice(0, random.below(8) === 0 ? random.below(clean.length) : clean.length);
    for (let i = 0; i < 1 + random.below(4); i++) {
      // Where the metadata are: the header, the tables, the entries in use.
      const table = [0, 0, CLUSTER, 2 * CLUSTER, L1, L2][random.below(6)] as number;
      const at = table + random.below(table === 0 ? 112 : 64);
      if (at < image.length) image[at] = random.below(2) === 0 ? random.below(256) : 2 ** random.below(8);
    }
    try {
      const medium = open(image, random.below(2) === 0);
      const end = medium.bytes - 512;
      for (let i = 0; i < 6; i++) {
        const offset = i % 3 === 0 ? 0 : Math.min(end, random.below(4) * 2048);
        if (medium.readOnly || i % 2 === 0) medium.readv(offset, [new Uint8Array(8192)]);
        else if (i === 3) medium.discard(offset, 65536);
        else medium.writev(offset, [pattern(6000, i)]);
      }
      medium.close();
    } catch (error) {
      if (!(error instanceof MediumError)) throw error;
      refused++;
    }
  }
  assert.ok(refused > 1000 && refused < 4000, `${refused} refused`);
});

async function refusesFile(path: string, reason: MediumReason, message: RegExp): Promise<void> {
  try {
    (await openImage(path)).close();
  } catch (error) {
    assert.instance(error, MediumError);
    assert.match((error as MediumError).message, message);
    assert.is((error as MediumError).reason, reason);
    return;
  }
  assert.unreachable(`${path} was opened`);
}

test('a chain of backing files that comes back to itself, or is too long, is refused', async () => {
  const at = (name: string): string => join(folder, name);
  const make = (name: string, path: string, format: 'raw' | 'qcow2' = 'qcow2') =>
    createQcow2(at(name), { bytes: MIB, backing: { path, format } });
  await make('one.qcow2', 'two.qcow2');
  await make('two.qcow2', './three.qcow2');
  await make('three.qcow2', 'link.qcow2');
  symlinkSync('one.qcow2', at('link.qcow2'));
  await refusesFile(
    at('one.qcow2'),
    'unsupported',
    /three.qcow2: byte 8 \(backing file\): link.qcow2: .*comes back/,
  );
  for (let i = 0; i < 40; i++) await make(`deep-${i}.qcow2`, `deep-${i + 1}.qcow2`);
  await createQcow2(at('deep-40.qcow2'), { bytes: MIB });
  await refusesFile(at('deep-0.qcow2'), 'unsupported', /more than 32 images stand on each other/);
  (await openImage(at('deep-10.qcow2'))).close();
  await make('orphan.qcow2', 'nowhere.img', 'raw');
  await refusesFile(
    at('orphan.qcow2'),
    'missing',
    /orphan.qcow2: its backing file: .*nowhere.img: .*no such file/,
  );
  await make('net.qcow2', 'nbd://localhost/x', 'raw');
  await refusesFile(
    at('net.qcow2'),
    'unsupported',
    /byte 8 \(backing file\): "nbd:\/\/localhost\/x" is no path/,
  );
});

test('a backing file is found from the image, not from where we stand', async () => {
  mkdirSync(join(folder, 'sub'));
  writeFileSync(join(folder, 'sub', 'base.raw'), pattern(MIB, 5));
  const path = join(folder, 'sub', 'over.qcow2');
  await createQcow2(path, { bytes: MIB, backing: { path: 'base.raw', format: 'raw' } });
  const medium = await openImage(path);
  assert.equal(Buffer.from(await contentOf(medium)), Buffer.from(pattern(MIB, 5)));
  medium.close();
});

test('a raw image that was not called raw does not become a qcow2 image', async () => {
  const path = join(folder, 'guest.raw');
  writeFileSync(path, new Uint8Array(MIB));
  const guess = await openImage(path);
  assert.throws(
    () => guess.writev(0, [sample().subarray(0, 2), sample().subarray(2, 512)]),
    /its format, raw/,
  );
  guess.writev(0, [pattern(512, 3)]);
  guess.writev(4096, [sample().subarray(0, 512)]);
  guess.close();
  const named = await openImage(path, { format: 'raw' });
  named.writev(0, [sample().subarray(0, 512)]);
  named.close();
  await refusesFile(path, 'format', /L1|l1|refcount|file ends/);
  (await openImage(path, { format: 'raw' })).close();
});

test('formats of others are refused by their names', async () => {
  const path = join(folder, 'other.img');
  for (const [magic, name] of [
    ['KDMV', 'VMDK'],
    ['vhdxfile', 'VHDX'],
    ['QED\0', 'QED'],
    ['<<< Oracle', 'VDI'],
  ]) {
    writeFileSync(path, (magic as string).padEnd(4096, '\0'));
    await refusesFile(path, 'unsupported', new RegExp(`looks like a ${name} image.*its format, raw`));
  }
});

test('a shape that cannot be is refused before there is a file', async () => {
  const path = join(folder, 'shape.qcow2');
  const refusal = async (shape: Parameters<typeof createQcow2>[1]): Promise<string> =>
    createQcow2(path, shape).then(
      () => 'made',
      (error: Error) => error.message,
    );
  assert.match(await refusal({ bytes: 1000 }), /multiple of 512/);
  assert.match(await refusal({ bytes: MIB, clusterBytes: 3000 }), /power of two/);
  assert.match(await refusal({ bytes: MIB, refcountBits: 3 }), /refcountBits is 3/);
  assert.match(await refusal({ bytes: MIB, version: 2, refcountBits: 8 }), /version 2 has 16/);
  assert.match(await refusal({ bytes: 2 ** 40, clusterBytes: 512 }), /at most/);
  assert.is(await refusal({ bytes: MIB }), 'made');
  assert.match(await refusal({ bytes: MIB }), /it exists; remove it/);
});

qemuTest('what qemu-img makes and we do not read is refused by name', async () => {
  const make = (name: string, options: string): string => {
    const path = join(folder, name);
    qemuImg('create', '-f', 'qcow2', '-o', options, path, '1M');
    return path;
  };
  await refusesFile(make('sub.qcow2', 'extended_l2=on'), 'unsupported', /subclusters/);
  const data = `data_file=${join(folder, 'ext.data')}`;
  await refusesFile(make('ext.qcow2', data), 'unsupported', /external data file/);
  const zstd = await openImage(make('zstd.qcow2', 'compression_type=zstd'));
  zstd.writev(0, [pattern(512, 1)]); // it is only compressed clusters that cannot be read
  zstd.close();
  const lazy = await openImage(make('lazy.qcow2', 'lazy_refcounts=on'));
  lazy.writev(0, [pattern(512, 1)]);
  lazy.close();
});

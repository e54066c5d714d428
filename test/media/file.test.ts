import { chmodSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MediumError, type MediumReason, openFile } from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { pattern, scratchFolder } from './help.ts';

const test = suite('media: file');
const folder = scratchFolder();

async function refused(
  path: string,
  reason: MediumReason,
  message: RegExp,
  options: Parameters<typeof openFile>[1] = {},
): Promise<void> {
  try {
    await openFile(path, options);
  } catch (error) {
    assert.instance(error, MediumError);
    if (!(error instanceof MediumError)) return;
    assert.is(error.reason, reason);
    assert.match(error.message, message);
    assert.ok(error.message.startsWith(path), error.message);
    return;
  }
  assert.unreachable(`${path} was opened`);
}

test('bytes go to the file and come back, in more buffers than one system call takes', async () => {
  const path = join(folder, 'vector.img');
  const medium = await openFile(path, { create: 65536 });
  const bytes = pattern(3 * 1024 * 4 + 7, 1);
  const pieces = (whole: Uint8Array): Uint8Array[] => {
    const views = [];
    for (let at = 0; at < whole.length; at += 1 + (at % 7)) {
      views.push(whole.subarray(at, at + 1 + (at % 7)));
    }
    return views;
  };
  assert.ok(pieces(bytes).length > 2 * 1024);
  assert.is(medium.writev(1000, pieces(bytes)), bytes.length);
  medium.flush();
  assert.equal(readFileSync(path).subarray(1000, 1000 + bytes.length), Buffer.from(bytes));
  const back = new Uint8Array(bytes.length);
  assert.is(medium.readv(1000, pieces(back)), bytes.length);
  assert.equal(back, bytes);
  medium.close();
});

test('empty buffers are nothing, not the end of the file', async () => {
  const medium = await openFile(join(folder, 'empties.img'), { create: 4096 });
  const bytes = pattern(512, 2);
  const empties = Array.from({ length: 1500 }, () => new Uint8Array(0));
  assert.is(medium.writev(0, [...empties, bytes, ...empties]), 512);
  const back = new Uint8Array(512);
  assert.is(medium.readv(0, [...empties, back]), 512);
  assert.equal(back, bytes);
  medium.close();
});

test('nothing is read or written behind the end', async () => {
  const path = join(folder, 'end.img');
  const medium = await openFile(path, { create: 1024 });
  const bytes = pattern(1024, 3);
  assert.is(medium.writev(512, [bytes.subarray(0, 300), bytes.subarray(300)]), 512);
  assert.is(statSync(path).size, 1024);
  assert.is(medium.readv(512, [new Uint8Array(1024)]), 512);
  assert.is(medium.readv(4096, [new Uint8Array(1)]), 0);
  assert.throws(() => medium.readv(-1, [new Uint8Array(1)]), /whole numbers/);
  medium.close();
});

test('a file that another program cut off ends early', async () => {
  const path = join(folder, 'cut.img');
  const medium = await openFile(path, { create: 8192 });
  truncateSync(path, 2000);
  assert.is(medium.readv(1024, [new Uint8Array(512), new Uint8Array(4096)]), 2000 - 1024);
  medium.close();
});

test('a last sector that is not whole is filled up with zeroes, and grows when it is written', async () => {
  const path = join(folder, 'odd');
  writeFileSync(path, new Uint8Array(700).fill(7));
  const medium = await openFile(path, { roundUp: true });
  assert.is(medium.bytes, 1024);
  const sector = new Uint8Array(512).fill(1);
  assert.is(medium.readv(512, [sector.subarray(0, 100), sector.subarray(100)]), 512);
  assert.equal([...new Set(sector.subarray(0, 188))], [7]);
  assert.equal([...new Set(sector.subarray(188))], [0]);
  assert.is(statSync(path).size, 700);
  medium.writev(512, [new Uint8Array(512).fill(9)]);
  assert.is(statSync(path).size, 1024);
  truncateSync(path, 600);
  assert.is(medium.readv(512, [sector]), 88, 'what another program cut off is missing');
  medium.close();
});

test('discard writes zeroes, and leaves the holes of a sparse file', async () => {
  const path = join(folder, 'sparse.img');
  const size = 64 * 2 ** 20;
  (await openFile(path, { create: size })).close();
  const medium = await openFile(path);
  medium.writev(5 * 2 ** 20 + 512, [pattern(8192, 4)]);
  medium.flush();
  const before = statSync(path).blocks;
  medium.discard(1024, size - 2048);
  medium.flush();
  // Blocks of 512 bytes: at most two pieces of 64 KiB around what was written.
  assert.ok(statSync(path).blocks <= before + 256, `${statSync(path).blocks} blocks, ${before} before`);
  const back = new Uint8Array(8192);
  assert.is(medium.readv(5 * 2 ** 20 + 512, [back]), 8192);
  assert.ok(back.every((byte) => byte === 0));
  medium.close();
});

test('discard of a file just made looks only where something was written', async () => {
  const path = join(folder, 'huge.img');
  const size = 2 ** 41; // to read it would take many minutes
  const medium = await openFile(path, { create: size });
  const [low, across] = [5 * 2 ** 20 + 512, 2 ** 40 - 4096];
  for (const at of [low, across]) medium.writev(at, [pattern(8192, 4)]);
  medium.discard(low + 512, size - low - 1024);
  const back = new Uint8Array(8192);
  medium.readv(low, [back]);
  assert.equal(back.subarray(0, 512), pattern(8192, 4).subarray(0, 512));
  assert.ok(back.subarray(512).every((byte) => byte === 0));
  medium.readv(across, [back]);
  assert.ok(back.every((byte) => byte === 0));
  medium.close();
  assert.ok(statSync(path).blocks < 4096, 'it is still all holes');
});

test('discard touches no byte beside its range', async () => {
  const path = join(folder, 'edges.img');
  const bytes = pattern(3 * 2 ** 20, 5);
  writeFileSync(path, bytes);
  const medium = await openFile(path);
  medium.discard(700, 2 * 2 ** 20 + 13);
  medium.close();
  bytes.fill(0, 700, 700 + 2 * 2 ** 20 + 13);
  assert.equal(readFileSync(path), Buffer.from(bytes));
});

test('what cannot be an image is refused with the path and what would be right', async () => {
  const at = (name: string): string => join(folder, name);
  writeFileSync(at('odd.img'), new Uint8Array(1000));
  writeFileSync(at('tiny.img'), new Uint8Array(100));
  writeFileSync(at('empty.img'), '');
  mkdirSync(at('directory'));
  await refused(at('odd.img'), 'size', /1000 bytes.*multiple.*512 bytes; 512 or 1024 would be right/);
  await refused(at('tiny.img'), 'size', /100 bytes.*; 512 would be right/);
  await refused(at('odd.img'), 'size', /4096 bytes; 4096 would be right/, { sectorBytes: 4096 });
  await refused(at('empty.img'), 'size', /empty.*512 bytes/);
  await refused(at('missing.img'), 'missing', /no such file/);
  await refused(at('odd.img/x'), 'missing', /no directory/);
  await refused(at('directory'), 'not-a-file', /is a directory/);
  await refused('/dev/null', 'not-a-file', /no regular file/);
});

test('a file is created with its size, once', async () => {
  const path = join(folder, 'new.img');
  await refused(path, 'size', /1000 bytes/, { create: 1000 });
  await refused(path, 'size', /0 bytes/, { create: 0 });
  await refused(join(folder, 'nowhere', 'x.img'), 'missing', /cannot be created/, { create: 512 });
  (await openFile(path, { create: 4096 })).close();
  assert.is(statSync(path).size, 4096);
  const again = await openFile(path, { create: 4096 });
  assert.is(again.bytes, 4096);
  again.close();
  await refused(path, 'exists', /4096 bytes, not 8192/, { create: 8192 });
});

test('read-only is read-only', async () => {
  const path = join(folder, 'only.img');
  writeFileSync(path, pattern(1024, 6));
  const medium = await openFile(path, { readOnly: true });
  assert.is(medium.readOnly, true);
  const isReadOnly = (error: unknown): boolean =>
    error instanceof MediumError && error.reason === 'read-only';
  assert.throws(() => medium.writev(0, [new Uint8Array(512)]), isReadOnly);
  assert.throws(() => medium.discard(0, 512), isReadOnly);
  medium.flush();
  medium.close();
  assert.equal(readFileSync(path), Buffer.from(pattern(1024, 6)));
});

test('a closed file moves nothing', async () => {
  const medium = await openFile(join(folder, 'closed.img'), { create: 512 });
  medium.close();
  medium.close();
  const isClosed = (error: unknown): boolean => error instanceof MediumError && error.reason === 'closed';
  assert.throws(() => medium.readv(0, [new Uint8Array(512)]), isClosed);
  assert.throws(() => medium.writev(0, [new Uint8Array(512)]), isClosed);
  assert.throws(() => medium.flush(), isClosed);
});

const name = 'a file without permission says so, and whether it could be read';
if (process.getuid?.() === 0) test.skip(name, 'root may do everything');
else {
  test(name, async () => {
    const path = join(folder, 'locked.img');
    writeFileSync(path, new Uint8Array(512));
    chmodSync(path, 0o444);
    await refused(path, 'permission', /open it read-only.*no permission/);
    chmodSync(path, 0);
    await refused(path, 'permission', /cannot be opened: no permission/);
  });
}

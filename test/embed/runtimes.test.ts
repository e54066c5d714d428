// The built library as a user's dependency in Node, Deno and Bun: the same programs print the same.

import { spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { transformSync } from 'esbuild';
import { scratchFolder } from '../media/help.ts';
import { needing } from '../media/qemu.ts';
import { read } from '../run/sources.ts';
import { assert, root, suite } from '../run/suite.ts';

const test = suite('embed: Deno and Bun');
/** Deno may do nothing but read and write files, unless it is told. */
const RUNTIMES = [
  { program: 'deno', args: ['run', '--no-prompt', '--allow-read', '--allow-write'] },
  { program: 'bun', args: [] },
];

/** Files as media: a raw one behind a controller, and a qcow2 image with a raw one under it. */
const MEDIA = `
import { createController } from 'backplane/embed';
import { createQcow2, openFile, openImage } from 'backplane/media';

const name = process.argv[2];
const raw = await openFile(name + '.raw', { create: 1 << 20 });
const board = await createController({ kind: 'ahci', media: raw, dma: new Uint8Array(1 << 20) });
board.disks[0].medium.writev(512, [new TextEncoder().encode('hello from a file')]);
raw.flush();
console.log(board.kind, board.disks[0].sectors);
await board.close();
await createQcow2(name + '.qcow2', { bytes: 1 << 20, backing: { path: name.split('/').at(-1) + '.raw', format: 'raw' } });
const image = await openImage(name + '.qcow2');
const bytes = new Uint8Array(17);
image.readv(512, [bytes]);
console.log(new TextDecoder().decode(bytes));
image.writev(0, [bytes]);
await image.close();
try {
  await openFile(name + '.none');
} catch (error) {
  console.log(error.name, error.reason);
}
`;

const folder = scratchFolder();
writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
mkdirSync(join(folder, 'node_modules'));
symlinkSync(root, join(folder, 'node_modules/backplane'), 'junction');
const programs = ['embed.mjs', 'embed-nvme.mjs', 'media.mjs'];
for (const name of programs) {
  const source = name === 'media.mjs' ? MEDIA : read(`examples/${name.replace('.mjs', '.ts')}`);
  writeFileSync(join(folder, name), transformSync(source, { loader: 'ts', format: 'esm' }).code);
}

let disks = 0;

/** What the program prints, with a place for disks of its own. */
function output(runtime: string, args: readonly string[], program: string): string {
  const disk = join(folder, `disk${disks++}`);
  const { status, stdout, stderr } = spawnSync(runtime, [...args, program, disk], {
    cwd: folder,
    encoding: 'utf8',
  });
  assert.is(status, 0, stderr);
  return stdout;
}

for (const { program, args } of RUNTIMES) {
  needing(
    test,
    [program],
    `${program}, for example the npm package of that name`,
  )(`EMB-63 ${program} runs the examples and files as media as Node does`, () => {
    for (const name of programs) {
      const wanted = output(process.execPath, [], name);
      assert.match(wanted, /hello from/);
      assert.is(output(program, args, name), wanted, name);
    }
  });
}

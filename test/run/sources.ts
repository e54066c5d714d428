// The project's own files, for the tests that check style.

import { readdirSync, readFileSync } from 'node:fs';
import { root } from './suite.ts';

/** Every file below the folders whose name ends with one of `endings`; paths from the project's root. */
export function filesBelow(folders: string[], ...endings: string[]): string[] {
  const found: string[] = [];
  const visit = (folder: string): void => {
    for (const entry of readdirSync(root + folder, { withFileTypes: true })) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) visit(path);
      else if (endings.some((ending) => entry.name.endsWith(ending))) found.push(path);
    }
  };
  const present = new Set(readdirSync(root));
  for (const folder of folders) if (present.has(folder.split('/')[0] ?? '')) visit(folder);
  return found.sort();
}

export function read(path: string): string {
  return readFileSync(root + path, 'utf8');
}

const STRING_OR_COMMENT =
  /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\/.*|\/\*[\s\S]*?\*\//g;

/** A file's text with its comments blanked, lines kept. */
export function code(path: string): string {
  return read(path).replace(STRING_OR_COMMENT, (part) =>
    /^\/[/*]/.test(part) ? part.replace(/[^\n]/g, ' ') : part,
  );
}

/** `path:line text` for every line that the pattern matches. */
export function grep(pattern: RegExp, path: string, text: string): string[] {
  const hits: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (pattern.test(line)) hits.push(`${path}:${index + 1} ${line.trim()}`);
  }
  return hits;
}

// An OpenAPI document as the page needs it.
//
// Pure functions of the document.

const methods = ['get', 'head', 'post', 'put', 'patch', 'delete'];

/** The operations by service, in the order of the document: [{service, operations}]. */
export function services(document) {
  const groups = new Map();
  for (const [key, item] of Object.entries(document.paths)) {
    const path = key.split('#')[0];
    for (const method of methods) {
      if (!item[method]) continue;
      const operation = operationOf(document, path, method, item);
      for (const { url, description } of item[method].servers ?? item.servers ?? document.servers ?? []) {
        const group = groups.get(description) ?? { service: description, url, operations: [] };
        group.operations.push(operation);
        groups.set(description, group);
      }
    }
  }
  return [...groups.values()];
}

function operationOf(document, path, method, item) {
  const operation = item[method];
  const see = (value) => resolve(document, value);
  const content = see(operation.requestBody)?.content ?? {};
  return {
    id: operation.operationId ?? `${method} ${path}`,
    method: method.toUpperCase(),
    path,
    summary: operation.summary ?? '',
    description: operation.description ?? '',
    parameters: [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(see).map((parameter) => ({ ...parameter, schema: see(parameter.schema) ?? {} })),
    bodies: Object.entries(content).filter(([type]) => type !== '*/*').sort(([a], [b]) => a.length - b.length).map(([type, { example, examples, schema }]) => ({
      type,
      example: exampleOf({ example, examples }) ?? see(schema)?.example,
      schema: schema?.$ref?.split('/').at(-1) ?? '',
    })),
    responses: Object.entries(operation.responses ?? {}).map(([status, response]) => {
      const { description = '', content = {} } = see(response);
      return { status, description, types: Object.keys(content), example: Object.values(content).map(exampleOf).find((example) => example !== undefined) };
    }),
  };
}

const exampleOf = ({ example, examples }) => example ?? Object.values(examples ?? {})[0]?.value;

/** What a reference within the document stands for; references to other files stay. */
function resolve(document, value) {
  for (let turns = 0; value?.$ref?.startsWith('#/') && turns < 10; turns++) {
    value = value.$ref.slice(2).split('/').reduce((at, name) => at?.[name.replaceAll('~1', '/').replaceAll('~0', '~')], document);
  }
  return value;
}

/** A request as it is filled in: {url, options}. values are by "in name". */
export function request(base, operation, values, body) {
  const set = operation.parameters.map((p) => [p, values[`${p.in} ${p.name}`] ?? '']).filter(([, value]) => value !== '');
  let path = operation.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const [{ in: where, name }, value] of set) {
    if (where === 'path') path = path.replace(`{${name}}`, encodeURIComponent(value));
    else if (where === 'query') query.set(name, value);
    else if (where === 'header') headers[name] = value;
  }
  if (body) headers['Content-Type'] = body.type;
  const text = query.size > 0 ? `?${query}` : '';
  return { url: `${base}${path}${text}`, options: { method: operation.method, headers, ...(body && { body: body.text }) } };
}

/** The same as a command line. */
export function curl({ url, options: { method, headers, body } }) {
  const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  return [
    `curl -i ${method === 'GET' ? '' : method === 'HEAD' ? '-I ' : `-X ${method} `}${quote(url)}`,
    ...Object.entries(headers).map(([name, value]) => `  -H ${quote(`${name}: ${value}`)}`),
    ...(body ? [`  -d ${quote(body)}`] : []),
  ].join(' \\\n');
}

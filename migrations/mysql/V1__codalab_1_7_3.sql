-- The complete schema of CodaLab 1.7.3 (alembic revision db3ca94867b3), column for column. An existing database of that
-- version is recorded as being here, a new one is made by this file and then changed by the later migrations, so that
-- both end up the same. IF NOT EXISTS lets an interrupted first start begin again.

CREATE TABLE IF NOT EXISTS `alembic_version` (
  `version_num` VARCHAR(32) NOT NULL,
  PRIMARY KEY (`version_num`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `bundle` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `uuid` VARCHAR(63) NOT NULL,
  `bundle_type` VARCHAR(63) NOT NULL,
  `command` TEXT NULL,
  `state` VARCHAR(63) NOT NULL,
  `owner_id` VARCHAR(255) NULL,
  `frozen` DATETIME NULL,
  `is_anonymous` TINYINT(1) NOT NULL DEFAULT 0,
  `storage_type` ENUM('disk','azure_blob') NULL,
  `is_dir` TINYINT(1) NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uix_1` (`uuid`),
  KEY `state_index` (`state`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `user` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `user_id` VARCHAR(63) NOT NULL,
  `user_name` VARCHAR(63) NOT NULL,
  `email` VARCHAR(254) NOT NULL,
  `notifications` INTEGER NOT NULL DEFAULT 2,
  `last_login` DATETIME NULL,
  `is_active` TINYINT(1) NOT NULL DEFAULT 1,
  `first_name` VARCHAR(30) NULL,
  `last_name` VARCHAR(30) NULL,
  `date_joined` DATETIME NOT NULL,
  `has_access` TINYINT(1) NULL DEFAULT 0,
  `is_verified` TINYINT(1) NOT NULL DEFAULT 0,
  `password` VARCHAR(128) NOT NULL,
  `affiliation` VARCHAR(255) NULL,
  `url` VARCHAR(255) NULL,
  `time_quota` FLOAT NOT NULL,
  `parallel_run_quota` INTEGER NOT NULL DEFAULT 3,
  `time_used` FLOAT NOT NULL,
  `disk_quota` FLOAT NOT NULL,
  `disk_used` FLOAT NOT NULL,
  `avatar_id` VARCHAR(63) NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uix_1` (`user_id`),
  UNIQUE KEY `uix_2` (`user_name`),
  UNIQUE KEY `uix_3` (`email`),
  KEY `user_user_id_index` (`user_id`),
  KEY `user_user_name_index` (`user_name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `group` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `uuid` VARCHAR(63) NOT NULL,
  `name` VARCHAR(255) NOT NULL,
  `user_defined` TINYINT(1) NULL,
  `owner_id` VARCHAR(255) NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uix_1` (`uuid`),
  KEY `group_name_index` (`name`),
  KEY `group_owner_id_index` (`owner_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `worksheet` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `uuid` VARCHAR(63) NOT NULL,
  `name` VARCHAR(255) NOT NULL,
  `owner_id` VARCHAR(255) NULL,
  `title` VARCHAR(255) NULL,
  `frozen` DATETIME NULL,
  `is_anonymous` TINYINT(1) NOT NULL DEFAULT 0,
  `date_created` DATETIME NULL,
  `date_last_modified` DATETIME NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uix_1` (`uuid`),
  KEY `worksheet_name_index` (`name`),
  KEY `worksheet_owner_index` (`owner_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `bundle_store` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `uuid` VARCHAR(63) NOT NULL,
  `owner_id` VARCHAR(255) NULL,
  `name` VARCHAR(255) NOT NULL,
  `storage_type` VARCHAR(255) NULL,
  `storage_format` VARCHAR(255) NULL,
  `url` VARCHAR(255) NULL,
  `authentication` VARCHAR(255) NULL,
  `authentication_env` VARCHAR(255) NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uix_1` (`uuid`),
  UNIQUE KEY `nix_1` (`name`),
  KEY `bundle_store_name_index` (`name`),
  KEY `bundle_store_owner_index` (`owner_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `bundle_metadata` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `bundle_uuid` VARCHAR(63) NOT NULL,
  `metadata_key` VARCHAR(63) NOT NULL,
  `metadata_value` TEXT NOT NULL,
  PRIMARY KEY (`id`),
  KEY `bundle_uuid` (`bundle_uuid`),
  KEY `metadata_kv_index` (`metadata_key`(63), `metadata_value`(63)),
  FOREIGN KEY (`bundle_uuid`) REFERENCES `bundle` (`uuid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `bundle_dependency` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `child_uuid` VARCHAR(63) NOT NULL,
  `child_path` TEXT NOT NULL,
  `parent_uuid` VARCHAR(63) NOT NULL,
  `parent_path` TEXT NOT NULL,
  PRIMARY KEY (`id`),
  KEY `child_uuid` (`child_uuid`),
  FOREIGN KEY (`child_uuid`) REFERENCES `bundle` (`uuid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `bundle_location` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `bundle_uuid` VARCHAR(63) NOT NULL,
  `bundle_store_uuid` VARCHAR(63) NOT NULL,
  PRIMARY KEY (`id`),
  KEY `bundle_uuid` (`bundle_uuid`),
  KEY `bundle_store_uuid` (`bundle_store_uuid`),
  FOREIGN KEY (`bundle_uuid`) REFERENCES `bundle` (`uuid`),
  FOREIGN KEY (`bundle_store_uuid`) REFERENCES `bundle_store` (`uuid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `worksheet_item` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `worksheet_uuid` VARCHAR(63) NOT NULL,
  `bundle_uuid` VARCHAR(63) NULL,
  `subworksheet_uuid` VARCHAR(63) NULL,
  `value` TEXT NOT NULL,
  `type` VARCHAR(20) NOT NULL,
  `sort_key` INTEGER NULL,
  PRIMARY KEY (`id`),
  KEY `worksheet_item_worksheet_uuid_index` (`worksheet_uuid`),
  KEY `worksheet_item_bundle_uuid_index` (`bundle_uuid`),
  KEY `worksheet_item_subworksheet_uuid_index` (`subworksheet_uuid`),
  FOREIGN KEY (`worksheet_uuid`) REFERENCES `worksheet` (`uuid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `worksheet_tag` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `worksheet_uuid` VARCHAR(63) NOT NULL,
  `tag` VARCHAR(63) NOT NULL,
  PRIMARY KEY (`id`),
  KEY `worksheet_tag_worksheet_uuid_index` (`worksheet_uuid`),
  KEY `worksheet_tag_tag_index` (`tag`),
  FOREIGN KEY (`worksheet_uuid`) REFERENCES `worksheet` (`uuid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `user_group` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `group_uuid` VARCHAR(63) NOT NULL,
  `user_id` VARCHAR(63) NOT NULL,
  `is_admin` TINYINT(1) NULL,
  PRIMARY KEY (`id`),
  KEY `group_uuid_index` (`group_uuid`),
  KEY `user_id_index` (`user_id`),
  FOREIGN KEY (`group_uuid`) REFERENCES `group` (`uuid`),
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `group_bundle_permission` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `group_uuid` VARCHAR(63) NOT NULL,
  `object_uuid` VARCHAR(63) NOT NULL,
  `permission` INTEGER NOT NULL,
  PRIMARY KEY (`id`),
  KEY `group_uuid` (`group_uuid`),
  KEY `object_uuid` (`object_uuid`),
  FOREIGN KEY (`group_uuid`) REFERENCES `group` (`uuid`),
  FOREIGN KEY (`object_uuid`) REFERENCES `bundle` (`uuid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `group_object_permission` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `group_uuid` VARCHAR(63) NOT NULL,
  `object_uuid` VARCHAR(63) NOT NULL,
  `permission` INTEGER NOT NULL,
  PRIMARY KEY (`id`),
  KEY `group_uuid` (`group_uuid`),
  KEY `object_uuid` (`object_uuid`),
  FOREIGN KEY (`group_uuid`) REFERENCES `group` (`uuid`),
  FOREIGN KEY (`object_uuid`) REFERENCES `worksheet` (`uuid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `user_verification` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `user_id` VARCHAR(63) NOT NULL,
  `date_created` DATETIME NOT NULL,
  `date_sent` DATETIME NULL,
  `key` VARCHAR(64) NOT NULL,
  PRIMARY KEY (`id`),
  KEY `user_id` (`user_id`),
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `user_reset_code` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `user_id` VARCHAR(63) NOT NULL,
  `date_created` DATETIME NOT NULL,
  `code` VARCHAR(64) NOT NULL,
  PRIMARY KEY (`id`),
  KEY `user_id` (`user_id`),
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `oauth2_client` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `client_id` VARCHAR(63) NOT NULL,
  `name` VARCHAR(63) NULL,
  `secret` VARCHAR(255) NULL,
  `user_id` VARCHAR(63) NULL,
  `grant_type` ENUM('authorization_code','password','client_credentials','refresh_token') NOT NULL,
  `response_type` ENUM('code','token') NOT NULL,
  `scopes` TEXT NOT NULL,
  `redirect_uris` TEXT NOT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uix_1` (`client_id`),
  KEY `user_id` (`user_id`),
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `oauth2_token` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `client_id` VARCHAR(63) NOT NULL,
  `user_id` VARCHAR(63) NOT NULL,
  `scopes` TEXT NOT NULL,
  `access_token` VARCHAR(255) NULL,
  `refresh_token` VARCHAR(255) NULL,
  `expires` DATETIME NOT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `access_token` (`access_token`),
  UNIQUE KEY `refresh_token` (`refresh_token`),
  KEY `client_id` (`client_id`),
  KEY `user_id` (`user_id`),
  FOREIGN KEY (`client_id`) REFERENCES `oauth2_client` (`client_id`),
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `oauth2_auth_code` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `client_id` VARCHAR(63) NOT NULL,
  `user_id` VARCHAR(63) NOT NULL,
  `scopes` TEXT NOT NULL,
  `code` VARCHAR(100) NOT NULL,
  `expires` DATETIME NOT NULL,
  `redirect_uri` VARCHAR(255) NOT NULL,
  PRIMARY KEY (`id`),
  KEY `client_id` (`client_id`),
  KEY `user_id` (`user_id`),
  FOREIGN KEY (`client_id`) REFERENCES `oauth2_client` (`client_id`),
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `worker` (
  `user_id` VARCHAR(63) NOT NULL,
  `worker_id` VARCHAR(127) NOT NULL,
  `group_uuid` VARCHAR(63) NULL,
  `tag` TEXT NULL,
  `cpus` INTEGER NOT NULL,
  `gpus` INTEGER NOT NULL,
  `memory_bytes` BIGINT NOT NULL,
  `free_disk_bytes` BIGINT NULL,
  `checkin_time` DATETIME NOT NULL,
  `socket_id` INTEGER NOT NULL,
  `shared_file_system` TINYINT(1) NOT NULL DEFAULT 0,
  `tag_exclusive` TINYINT(1) NOT NULL DEFAULT 0,
  `exit_after_num_runs` INTEGER NOT NULL DEFAULT 999999999,
  `is_terminating` TINYINT(1) NOT NULL DEFAULT 0,
  `preemptible` TINYINT(1) NOT NULL DEFAULT 0,
  PRIMARY KEY (`user_id`, `worker_id`),
  KEY `group_uuid` (`group_uuid`),
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`),
  FOREIGN KEY (`group_uuid`) REFERENCES `group` (`uuid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `worker_socket` (
  `socket_id` INTEGER NOT NULL AUTO_INCREMENT,
  `user_id` VARCHAR(63) NOT NULL,
  `worker_id` VARCHAR(127) NOT NULL,
  PRIMARY KEY (`socket_id`),
  KEY `user_id` (`user_id`),
  FOREIGN KEY (`user_id`) REFERENCES `user` (`user_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `worker_run` (
  `user_id` VARCHAR(63) NOT NULL,
  `worker_id` VARCHAR(127) NOT NULL,
  `run_uuid` VARCHAR(63) NOT NULL,
  KEY `user_id` (`user_id`, `worker_id`),
  KEY `uuid_index` (`run_uuid`),
  FOREIGN KEY (`user_id`, `worker_id`) REFERENCES `worker` (`user_id`, `worker_id`),
  FOREIGN KEY (`run_uuid`) REFERENCES `bundle` (`uuid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `worker_dependency` (
  `user_id` VARCHAR(63) NOT NULL,
  `worker_id` VARCHAR(127) NOT NULL,
  `dependencies` BLOB NOT NULL,
  PRIMARY KEY (`user_id`, `worker_id`),
  FOREIGN KEY (`user_id`, `worker_id`) REFERENCES `worker` (`user_id`, `worker_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

CREATE TABLE IF NOT EXISTS `chat` (
  `id` BIGINT NOT NULL AUTO_INCREMENT,
  `time` DATETIME NOT NULL,
  `sender_user_id` VARCHAR(63) NULL,
  `recipient_user_id` VARCHAR(63) NULL,
  `message` TEXT NOT NULL,
  `worksheet_uuid` VARCHAR(63) NULL,
  `bundle_uuid` VARCHAR(63) NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;

INSERT IGNORE INTO `alembic_version` (`version_num`) VALUES ('db3ca94867b3');
